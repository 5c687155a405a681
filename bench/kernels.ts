/**
 * Our kernels, one by one, at the shapes of the workloads and at every instruction set of this machine:
 * node bench/kernels.ts [--json] [--level avx2] [--threads N] [--only delta]
 *
 * Each level is a process of its own, in which `ATEN_CPU_CAPABILITY` holds libtorch's kernels and ours to it,
 * `MKL_ENABLE_INSTRUCTIONS` (`MKL_CBWR`) and `ONEDNN_MAX_CPU_ISA` the libraries that it multiplies with. Rates are the best of
 * several rounds in which the kernel, the chain of libtorch's operators in its place, and the yardstick take turns. The
 * yardstick is a product of libtorch's of the same size class (GFLOP/s), for kernels that do not multiply the sum of two
 * tensors as large as theirs (GB/s). Operations are those of visible pairs of query and key; bytes are those that must
 * be read and written once.
 */
import { execFileSync } from 'node:child_process';
import { availableParallelism } from 'node:os';
import { parseArgs } from 'node:util';
import { composedAttention } from '../packages/core/src/model/attention.ts';
import {
  cat,
  functional,
  Generator,
  grad,
  info,
  noGrad,
  randn,
  scope,
  setNumThreads,
} from '../packages/torch/src/index.ts';
import type { Tensor } from '../packages/torch/src/index.ts';
import { machineLevels, type Level } from '../packages/torch/src/levels.ts';
import { deltaCases } from './delta.ts';
import { SHAPES } from './workloads.ts';

interface Row {
  readonly name: string;
  readonly level: Level;
  readonly shape: string;
  /** In `unit`. */
  readonly gflops: number;
  readonly unit: 'GFLOP/s' | 'GB/s';
  /** Share of the yardstick's rate. */
  readonly share: number;
  /** The time of the chain of libtorch's operators by the kernel's. */
  readonly chain: number;
}

/** What is timed, and the operations or bytes of one call, in 10^9. */
export interface Timed {
  readonly work: number;
  readonly body: () => unknown;
}

export interface Case extends Timed {
  readonly name: string;
  readonly shape: string;
  readonly chain: () => unknown;
  readonly yardstick: Timed;
}

/** The decoders of mini_model.py, and the tokens of the prompts beside those of the image. */
const decoders = {
  a: { width: 128, layers: 4, heads: 4, kvHeads: 2, inner: 352, vocabulary: 400 },
  b: { width: 512, layers: 8, heads: 8, kvHeads: 2, inner: 2048, vocabulary: 32_000 },
  c: { width: 768, layers: 20, heads: 6, kvHeads: 2, inner: 4096, vocabulary: 32_000 },
} as const;
const textTokens = 18;
const float = 4;

/**
 * What libtorch's libraries call the levels. MKL takes instructions from that variable on processors of Intel alone, and
 * multiplies with AVX2 on others; `COMPATIBLE` is SSE2 on all.
 */
const libraries: Readonly<Record<Level, Readonly<Record<string, string>>>> = {
  default: { MKL_CBWR: 'COMPATIBLE', ONEDNN_MAX_CPU_ISA: 'SSE41' },
  avx2: { MKL_ENABLE_INSTRUCTIONS: 'AVX2', ONEDNN_MAX_CPU_ISA: 'AVX2' },
  avx512: { MKL_ENABLE_INSTRUCTIONS: 'AVX512', ONEDNN_MAX_CPU_ISA: 'AVX512_CORE' },
};

const generator = new Generator(1);
const random = (...shape: number[]): Tensor => randn(shape, { generator }).mul(0.5);
const isProduct = ({ name }: Case): boolean => /attention|layers|rule/.test(name);

const sum = (elements: number): Timed => {
  const [a, b] = [random(elements), random(elements)];
  return { work: (3 * float * elements) / 1e9, body: () => a.add(b) };
};
const product = (batch: number, rows: number, inner: number, columns: number): Timed => {
  const [a, b] = [random(batch, rows, inner), random(batch, inner, columns)];
  return { work: (2 * batch * rows * inner * columns) / 1e9, body: () => a.bmm(b) };
};

/** A kernel forward, and its gradients by all inputs. */
function both(
  each: Omit<Case, 'body' | 'chain' | 'work'>,
  [forward, backward]: readonly [number, number],
  inputs: Tensor[],
  kernel: () => Tensor,
  chain: () => Tensor,
): Case[] {
  for (const input of inputs) input.requiresGrad_();
  const [y, z] = [kernel(), chain()];
  const direction = random(...y.shape);
  const gradients = (of: Tensor) => () => grad([of], inputs, { gradOutputs: [direction], retainGraph: true });
  return [
    { ...each, work: forward, body: () => noGrad(kernel), chain: () => noGrad(chain) },
    { ...each, name: `${each.name} backward`, work: backward, body: gradients(y), chain: gradients(z) },
  ];
}

function turned(x: Tensor, cos: Tensor, sin: Tensor): Tensor {
  return x.mul(cos).addcmul(x.roll(x.size(-1) / 2, -1), sin);
}

function casesOf(workload: keyof typeof decoders): Case[] {
  const { width, heads, kvHeads, inner } = decoders[workload];
  const { image, microBatchPrompts, group, maxNewTokens: tokens } = SHAPES[workload]!;
  const size = width / heads;
  const prefix = (image.width * image.height) / 28 ** 2 + textTokens;
  const places = prefix + group * tokens;
  const rows = microBatchPrompts * places;
  const named = (name: string, ...shape: number[]) => ({ name, shape: `${workload}: ${shape.join(' x ')}` });
  const bytes = (elements: number): number => (float * elements) / 1e9;

  const [x, weight] = [random(rows, width), random(width)];
  const norm = both(
    { ...named('rms_norm', rows, width), yardstick: sum(rows * width) },
    [bytes(2 * rows * width), bytes(3 * rows * width)],
    [x, weight],
    () => functional.rmsNorm(x, weight, 1e-6),
    () => x.mul(x.square().mean(-1, true).add(1e-6).rsqrt()).mul(weight),
  );

  const q = random(microBatchPrompts, places, heads, size);
  const angles = random(microBatchPrompts, places, 1, size / 2);
  const [cos, sin] = [cat([angles.cos(), angles.cos()], -1), cat([angles.sin().neg(), angles.sin()], -1)];
  const rotate = both(
    { ...named('rotate', rows, heads, size), yardstick: sum(rows * width) },
    [bytes(2 * rows * width), bytes(2 * rows * width)],
    [q],
    () => functional.rotate(q, cos, sin),
    () => turned(q, cos, sin),
  );

  const joint = random(rows, 2 * inner);
  const swiglu = both(
    { ...named('swiglu', rows, inner), yardstick: sum(rows * inner) },
    [bytes(3 * rows * inner), bytes(5 * rows * inner)],
    [joint],
    () => functional.swiglu(joint),
    () =>
      joint
        .narrow(-1, 0, inner)
        .silu()
        .mul(joint.narrow(-1, inner, inner)),
  );

  const [k, v] = [random(microBatchPrompts, places, kvHeads, size), random(microBatchPrompts, places, kvHeads, size)];
  const lengths = Array<number>(microBatchPrompts).fill(prefix);
  const pairs = (prefix * (prefix + 1)) / 2 + group * tokens * (prefix + (tokens + 1) / 2);
  const operations = (2 * microBatchPrompts * heads * size * pairs) / 1e9;
  const attention = both(
    {
      ...named('packed_attention', microBatchPrompts, places, heads, size),
      yardstick: product(microBatchPrompts * heads, group * tokens, size, prefix + tokens),
    },
    // Backward: scores once more, and the gradients of scores, queries, keys and values.
    [2 * operations, 5 * operations],
    [q, k, v],
    () => functional.packedAttention([q, k, v], lengths, group, tokens),
    () => composedAttention([q, k, v], { lengths, prefix, responses: group, tokens }),
  );

  return [...norm, ...rotate, ...swiglu, ...attention, ...decodingCases(workload, prefix)];
}

/** One step of generation, in the middle of the responses. */
function decodingCases(workload: keyof typeof decoders, prefix: number): Case[] {
  const { width, layers, heads, kvHeads, inner, vocabulary } = decoders[workload];
  const { promptsPerStep: batch, group, maxNewTokens: capacity } = SHAPES[workload]!;
  const [size, rows, at, groups] = [width / heads, batch * group, capacity / 2, heads / kvHeads];
  const named = (name: string, ...shape: number[]) => ({ name, shape: `${workload}: ${shape.join(' x ')}` });
  const caches = () => ({
    prefix: { keys: random(batch, kvHeads, size, prefix), values: random(batch, kvHeads, prefix, size) },
    own: {
      keys: random(batch, kvHeads, group, size, capacity),
      values: random(batch, kvHeads, group, capacity, size),
    },
  });
  const turn = { cos: random(batch, 1, 1, size), sin: random(batch, 1, 1, size) };
  type Caches = ReturnType<typeof caches>;

  const attend = ([q, k, v]: readonly [Tensor, Tensor, Tensor], { prefix: shared, own }: Caches): Tensor => {
    own.keys.select(4, at).copy_(turned(k, turn.cos, turn.sin).transpose(1, 2));
    own.values.select(3, at).copy_(v.transpose(1, 2));
    const queries = turned(q, turn.cos, turn.sin)
      .mul(size ** -0.5)
      .view(batch, group, kvHeads, groups, size)
      .transpose(1, 2)
      .contiguous();
    const together = (x: Tensor, last: number): Tensor => x.view(batch * kvHeads, group * groups, last);
    const onPrefix = together(queries, size).bmm(shared.keys.view(batch * kvHeads, size, prefix));
    const onOwn = queries.matmul(own.keys.narrow(4, 0, at + 1));
    const scores = cat([onPrefix.view(batch, kvHeads, group, groups, prefix), onOwn], -1).softmax(-1);
    const [a, b] = scores.split([prefix, at + 1], -1) as [Tensor, Tensor];
    const fromPrefix = a
      .reshape(batch * kvHeads, group * groups, prefix)
      .bmm(shared.values.view(batch * kvHeads, prefix, size));
    return fromPrefix
      .view(batch, kvHeads, group, groups, size)
      .add(b.matmul(own.values.narrow(3, 0, at + 1)))
      .transpose(1, 2)
      .reshape(batch, group, width);
  };

  const qkv = random(batch, group, heads + 2 * kvHeads, size).split([heads, kvHeads, kvHeads], 2) as [
    Tensor,
    Tensor,
    Tensor,
  ];
  const cache = caches();
  const perLayer = (4 * rows * width * (prefix + at + 1)) / 1e9;
  const attention: Case = {
    ...named('decode_attention', batch, group, heads, size, prefix + at + 1),
    work: perLayer,
    body: () => functional.decodeAttention(qkv, turn, cache.prefix, cache.own, at, undefined),
    chain: () => attend(qkv, cache),
    yardstick: product(batch * kvHeads, group * groups, size, prefix),
  };

  const logits = random(rows, vocabulary);
  const noise = random(rows).sigmoid().to('float64');
  const sampling: Case = {
    ...named('sample', rows, vocabulary),
    work: (float * rows * vocabulary) / 1e9,
    body: () => functional.sample(logits, noise, undefined, 1),
    chain: () => {
      const logProbs = logits.logSoftmax(-1);
      const tokens = logProbs
        .exp()
        .cumsum(-1)
        .le(noise.unsqueeze(-1))
        .sum(-1, true)
        .clamp(0, vocabulary - 1);
      return logProbs.gather(-1, tokens);
    },
    yardstick: sum(rows * vocabulary),
  };
  return [attention, sampling, ...(workload === 'a' ? [wholeLayers()] : [])];

  /** The way in which the engine decodes where the weights are few. */
  function wholeLayers(): Case {
    const joint = width + 2 * kvHeads * size;
    const stack = Array.from({ length: layers }, () => ({
      ...caches(),
      weights: {
        inputNorm: random(width),
        qkv: random(width, joint).mul(0.1),
        bias: random(joint),
        output: random(width, width).mul(0.1),
        postNorm: random(width),
        gateUp: random(width, 2 * inner).mul(0.1),
        down: random(inner, width).mul(0.1),
      },
    }));
    const x = random(batch, group, width);
    const normed = (y: Tensor, w: Tensor): Tensor => y.mul(y.square().mean(-1, true).add(1e-6).rsqrt()).mul(w);
    const chain = (): Tensor =>
      stack.reduce((stream, { weights, ...own }) => {
        const all = normed(stream, weights.inputNorm).matmul(weights.qkv).add(weights.bias);
        const parts = all.view(batch, group, heads + 2 * kvHeads, size).split([heads, kvHeads, kvHeads], 2);
        const y = stream.add(attend(parts as [Tensor, Tensor, Tensor], own).matmul(weights.output));
        const gates = normed(y, weights.postNorm).matmul(weights.gateUp);
        const gated = gates
          .narrow(-1, 0, inner)
          .silu()
          .mul(gates.narrow(-1, inner, inner));
        return y.add(gated.matmul(weights.down));
      }, x);
    const weights = width * (joint + width + 3 * inner);
    return {
      ...named('decode_layers', layers, rows, width),
      work: layers * ((2 * rows * weights) / 1e9 + perLayer),
      body: () => functional.decodeLayers(x, turn, stack, at, undefined, 1e-6),
      chain,
      yardstick: product(1, rows, width, 2 * inner),
    };
  }
}

/** Seconds of one call: the best of the rounds, in which all take turns. */
function fastest(bodies: readonly (() => unknown)[], budget: number): number[] {
  const best = bodies.map(() => Infinity);
  const counts = bodies.map(() => 1);
  const start = performance.now();
  for (let round = 0; round < 4 || performance.now() - start < budget; round++) {
    bodies.forEach((body, i) => {
      const begin = performance.now();
      for (let n = 0; n < counts[i]!; n++) scope(() => void body());
      const each = (performance.now() - begin) / counts[i]!;
      best[i] = Math.min(best[i]!, each / 1000);
      counts[i] = Math.min(1000, Math.max(1, Math.round(1 / each)));
    });
  }
  return best;
}

function measure(each: Case, level: Level): Row {
  const [own, chain, yardstick] = fastest([each.body, each.chain, each.yardstick.body], 500) as [
    number,
    number,
    number,
  ];
  const rate = each.work / own;
  return {
    ...{ name: each.name, level, shape: each.shape, gflops: rate, unit: isProduct(each) ? 'GFLOP/s' : 'GB/s' },
    ...{ share: rate / (each.yardstick.work / yardstick), chain: chain / own },
  };
}

/** Slower than the chain, or multiplying at less than half the rate of libtorch's product. */
const isFault = ({ share, chain, unit }: Row): boolean => chain < 1 || (unit === 'GFLOP/s' && share < 0.5);

function tableOf(rows: readonly Row[]): string {
  const lines = rows.map((row) => [
    ...[row.level, row.name, row.shape, `${row.gflops.toFixed(1)} ${row.unit}`, `${(100 * row.share).toFixed(0)}%`],
    ...[`${row.chain.toFixed(2)}x`, isFault(row) ? 'FAULT' : ''],
  ]);
  const all = [['level', 'kernel', 'shape', 'rate', 'of the yardstick', 'chain / kernel', ''], ...lines];
  const widths = all[0]!.map((_, i) => Math.max(...all.map((line) => line[i]!.length)));
  const padded = all.map((line) => line.map((cell, i) => cell.padEnd(widths[i]!)).join('  '));
  return padded.map((line) => line.trimEnd()).join('\n');
}

const { values: options } = parseArgs({
  options: {
    json: { type: 'boolean', default: false },
    level: { type: 'string' },
    threads: { type: 'string', default: String(availableParallelism()) },
    only: { type: 'string', default: '' },
  },
});

if (options.level === undefined) {
  const rows = machineLevels().flatMap((level) => {
    console.error(`${level}: ${Object.keys(decoders).join(', ')}`);
    const env = { ...process.env, ...libraries[level], ATEN_CPU_CAPABILITY: level };
    const command = [import.meta.filename, '--level', level, '--threads', options.threads, '--only', options.only];
    const stdio = ['ignore', 'pipe', 'inherit'] as const;
    return JSON.parse(execFileSync(process.execPath, command, { env, encoding: 'utf8', stdio: [...stdio] })) as Row[];
  });
  const tidy = (_: string, value: unknown): unknown =>
    typeof value === 'number' ? Number(value.toPrecision(4)) : value;
  const write = options.json ? console.error : console.log;
  write(tableOf(rows));
  if (options.json) console.log(JSON.stringify(rows, tidy, 1));
} else {
  const level = machineLevels().find((each) => each === options.level && info().kernels.toLowerCase() === each);
  if (!level) throw new Error(`this process runs at ${info().kernels}, not at ${options.level}`);
  setNumThreads(Number(options.threads));
  const workloads = Object.keys(decoders) as (keyof typeof decoders)[];
  const all = [...workloads.map((each) => () => casesOf(each)), () => deltaCases({ random, sum, product })];
  const chosen = (cases: readonly Case[]): readonly Case[] => cases.filter(({ name }) => name.includes(options.only));
  console.log(JSON.stringify(all.flatMap((cases) => scope(() => chosen(cases()).map((each) => measure(each, level))))));
}
