/**
 * What one operator and one scope cost on top of libtorch: additions of four numbers, so that the call is all there is.
 *
 *   node bench/torch-overhead.ts                 prints microseconds per operation
 *   PYTHON=python3 node bench/torch-overhead.ts  measures PyTorch's own in the same way, beside
 */
import { execFileSync } from 'node:child_process';

import { noGrad, ones, scope, setNumThreads } from '@visurf/torch';

import { native, op } from '../packages/torch/src/native.ts';

const count = 200_000;
const repeats = 5;

/** The least microseconds per operation of several runs of `count` operations. */
function measure(run: () => void): number {
  const runs = Array.from({ length: repeats }, () => {
    const start = process.hrtime.bigint();
    run();
    return Number(process.hrtime.bigint() - start) / 1000 / count;
  });
  return Math.min(...runs);
}

const python = `
import time, torch
torch.set_num_threads(1)
a, b = torch.ones(4), torch.ones(4)
def measure(run):
    best = float('inf')
    for _ in range(${repeats}):
        start = time.perf_counter()
        for _ in range(${count}): run()
        best = min(best, time.perf_counter() - start)
    return best / ${count} * 1e6
with torch.no_grad():
    print(measure(lambda: a.add(b)), measure(lambda: a.add_(b)))
`;

setNumThreads(1);
const [a, b] = [ones([4]), ones([4])];
const add = op('add.Tensor');
const results = noGrad(() => ({
  'native call and dispose': measure(() => {
    for (let i = 0; i < count; i++) native.dispose(native.call(add, a.handle, b.handle) as number);
  }),
  'add, a hundred to a scope': measure(() => {
    for (let i = 0; i < count; i += 100) {
      scope(() => {
        for (let j = 0; j < 100; j++) a.add(b);
      });
    }
  }),
  'add, one to a scope': measure(() => {
    for (let i = 0; i < count; i++)
      scope(() => {
        a.add(b);
      });
  }),
  'add and dispose, no scope': measure(() => {
    for (let i = 0; i < count; i++) {
      a.add(b).dispose();
    }
  }),
  'add_ in place': measure(() => {
    for (let i = 0; i < count; i++) a.add_(b);
  }),
  'an empty scope': measure(() => {
    for (let i = 0; i < count; i++) scope(() => undefined);
  }),
}));
for (const [name, microseconds] of Object.entries(results)) {
  console.log(`${name.padEnd(28)} ${microseconds.toFixed(2)} us`);
}
if (process.env.PYTHON) {
  const output = execFileSync(process.env.PYTHON, ['-c', python], { encoding: 'utf8' });
  const [added = NaN, inPlace = NaN] = output.split(' ').map(Number);
  console.log(`PyTorch: add ${added.toFixed(2)} us, add_ ${inPlace.toFixed(2)} us`);
}
