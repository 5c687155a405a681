/** A process of calibrate.ts. */
import { keep, noGrad, nn, ones, type Tensor } from '@visurf/torch';

import { joinProcesses, type Joined } from '../distributed/join.ts';
import { byteSeconds, callSeconds, productRate, repeated } from '../machine.ts';
import { GradientSums } from '../update/sums.ts';
import { GradientShares } from '../update/zero.ts';
import type { Probe, Probed } from './calibrate.ts';

/** Milliseconds in which all compute the same. */
const TOGETHER = 300;
/** Exchanges, of which the fastest counts. */
const TRIES = 5;
/** Tensors of a block. */
const TENSORS = 8;

async function measure({ rank, size, port, precision, isSharded, elements, rows }: Probe): Promise<Probed> {
  await using processes = await joinProcesses({ rank, size, host: '127.0.0.1', port, timeout: 120 });
  const products: number[] = [];
  for (const each of rows) {
    await processes.group!.barrier();
    products.push(1e9 * Math.max(...repeated(TOGETHER, () => productRate(precision, each))));
  }
  const call = Math.min(...repeated(TOGETHER, callSeconds));
  await processes.group!.barrier();
  const byte = Math.min(...repeated(TOGETHER, byteSeconds));
  const hop = await fastest(processes, () => processes.gather({ rank }));
  return { products, call, byte, hop, ...(await exchange(processes, isSharded, elements, precision)) };
}

/** Seconds of a byte, by the code that exchanges in training. */
async function exchange(
  processes: Joined,
  isSharded: boolean,
  elements: number,
  precision: Probe['precision'],
): Promise<Pick<Probed, 'gradients' | 'weights'>> {
  const dtype = precision === 'float64' ? 'float64' : 'float32';
  const each = Math.max(1, Math.floor(elements / TENSORS));
  const parameters = new Map<string, Tensor>(
    Array.from({ length: TENSORS }, (_, i) => [`layers.${i}.weight`, nn.parameter([each], { dtype })]),
  );
  noGrad(() => parameters.forEach((parameter) => parameter.zero_()));
  const bytes = TENSORS * each * (dtype === 'float64' ? 8 : 4);
  const give = (): void => {
    for (const parameter of parameters.values()) parameter.grad = keep(ones([each], { dtype, device: 'cpu' }));
  };
  if (!isSharded) {
    const sums = new GradientSums(parameters, processes.group!);
    const added = await fastest(processes, () => givenTo(sums), give);
    return { gradients: added / bytes, weights: 0 };
  }
  const shares = new GradientShares(parameters, processes.group!, new Map());
  const left = await fastest(
    processes,
    () => givenTo(shares),
    () => {
      shares.clear();
      give();
    },
  );
  await shares.clip(Infinity);
  const back = await fastest(processes, () => shares.spread());
  shares.dispose();
  return { gradients: left / bytes, weights: back / bytes };
}

/** As after a backward pass that has nothing left to add. */
async function givenTo(exchange: GradientShares | GradientSums): Promise<void> {
  exchange.begin([]);
  await exchange.collect();
}

/** Processor seconds that this process takes, from a moment at which all are there: what waits for it is others' time. */
async function fastest(
  processes: Joined,
  body: () => Promise<unknown>,
  prepare: () => void = () => undefined,
): Promise<number> {
  let best = Infinity;
  for (let i = 0; i < TRIES; i++) {
    prepare();
    await processes.group!.barrier();
    const before = process.cpuUsage();
    await body();
    const { user, system } = process.cpuUsage(before);
    best = Math.min(best, user + system);
  }
  return best / 1e6;
}

process.on('message', (probe: Probe) => {
  void measure(probe).then((probed) => process.send!(probed));
});
