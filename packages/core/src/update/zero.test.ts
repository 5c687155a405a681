/** Gradients and the optimiser's state in shares: the numbers of one process, and their part of the memory. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

import { SafetensorsFile, scope } from '@visurf/torch';
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest';

import type { Config } from '../config/schema.ts';
import { loadModel } from '../families/load.ts';
import { groupOf } from '../testing/one-of-many.ts';
import { fixtures, oracleCases, oraclePrompt, tinyModel } from '../testing/oracle.ts';
import { Ranks } from '../testing/ranks.ts';
import { shareMasters } from './masters.ts';
import { trainable } from './optimizer.ts';
import { ShardedOptimizer } from './sharded-optimizer.ts';

const folder = mkdtempSync(path.join(tmpdir(), 'visurf-zero-'));
let ranks: Ranks;

beforeAll(() => {
  ranks = new Ranks(4);
  const lines = Array.from({ length: 5 }, (_, i) =>
    i === 3
      ? // The tower has nothing to do.
        { id: 's3', problem: '1 + 1', solution: '2', task: 'math' }
      : {
          ...{ id: `s${i}`, image: path.join(fixtures, 'images', 'small-40x40.png') },
          ...{ problem: 'the red circle '.repeat(1 + (i % 2)), solution: [{ bbox_2d: [2 + i, 3, 20, 30] }] },
        },
  );
  writeFileSync(path.join(folder, 'text.jsonl'), `${JSON.stringify(lines[3])}\n`);
  writeFileSync(path.join(folder, 'train.jsonl'), lines.map((line) => `${JSON.stringify(line)}\n`).join(''));
});
afterAll(() => {
  ranks[Symbol.dispose]();
  rmSync(folder, { recursive: true, force: true });
});

const values = (output: string, changes: object): object => ({
  ...{ model: tinyModel, output: path.join(folder, output), precision: 'float64', steps: 2, promptsPerStep: 3 },
  data: { train: path.join(folder, 'train.jsonl'), allowOutside: true },
  rollout: { group: 2, maxNewTokens: 4 },
  optimizer: { learningRate: 1e-3, weightDecay: 0.01 },
  train: { microBatch: { prompts: 1 } },
  checkpoint: { every: 1 },
  ...changes,
});

async function made(output: string, size: number, changes: object, resume = false): Promise<number> {
  const done = await ranks.run({ size, values: values(output, changes), resume });
  expect(done.map(({ error }) => error)).toEqual(done.map(() => undefined));
  return done[0]!.result!.metrics.loss!;
}

/** The largest difference between tensors of two files with the same names and shapes, over the largest of their values. */
function distance(name: string, one: string, other: string, step: number): number {
  const open = (run: string) =>
    new SafetensorsFile(path.join(folder, run, 'checkpoints', String(step).padStart(6, '0'), name));
  using a = open(one);
  using b = open(other);
  expect(new Set(b.names)).toEqual(new Set(a.names));
  return Math.max(
    ...a.names.map((key) =>
      scope(() => {
        expect([key, b.shapeOf(key)]).toEqual([key, a.shapeOf(key)]);
        const [x, y] = [a.get(key).to('float64'), b.get(key).to('float64')];
        return x.sub(y).abs().max().item() / Math.max(1e-30, x.abs().max().item());
      }),
    ),
  );
}

/** Of every kind of tower and decoder. */
const halves = ['qwen2-v5', 'qwen2_5-v5', 'qwen3_vl-v5', 'qwen3_5-v5', 'internvl-v5', 'smolvlm-v5'];
const FILES = ['model.safetensors', 'optimizer.safetensors'];

test.each<[string, number[], object, number]>([
  ['AdamW', [2, 4], {}, 1e-12],
  [
    'activations computed again, two updates',
    [2],
    { train: { checkpointActivations: true }, objective: { updatesPerBatch: 2 } },
    1e-12,
  ],
  [
    'SGD, without the tower',
    [2],
    { optimizer: { name: 'sgd', learningRate: 1e-2 }, train: { freezeVision: true } },
    1e-12,
  ],
  // The tower has no gradient anywhere: it stays as it is, without weight decay.
  ['AdamW on text alone', [2], { data: { train: path.join(folder, 'text.jsonl') }, promptsPerStep: 2 }, 1e-12],
  // A rounding may move a moment to the next of the 256 values.
  ['moments in 8 bits', [2], { precision: 'float32', optimizer: { states: '8bit', learningRate: 1e-3 } }, 0.03],
])(
  '%s: %j processes make what one makes',
  async (name, sizes, changes, tolerance) => {
    const loss = await made(`${name}1`, 1, changes);
    for (const size of sizes) {
      const other = await made(`${name}${size}`, size, changes);
      expect(Math.abs(other - loss)).toBeLessThan(tolerance === 1e-12 ? 1e-12 : 1e-5);
      expect(distance('model.safetensors', `${name}1`, `${name}${size}`, 2)).toBeLessThan(Math.min(tolerance, 1e-3));
      if (tolerance === 1e-12)
        expect(distance('optimizer.safetensors', `${name}1`, `${name}${size}`, 2)).toBeLessThan(tolerance);
    }
  },
  120_000,
);

/**
 * A micro-batch gives a weight one gradient, so that its rounding is that of one process, and SGD moves a weight by what it
 * differs. What is rounded otherwise after a step is a bfloat16 that lies at the edge.
 */
test.each(halves)(
  'weights in bfloat16 with float32 masters in slices learn as one process does with float32 weights: %s',
  async (name) => {
    const model = path.join(fixtures, 'configurations', name, 'model');
    const changes = {
      ...{ model, precision: 'bfloat16', steps: 1, promptsPerStep: 4, optimizer: { name: 'sgd', learningRate: 1e-3 } },
      objective: { kl: { coefficient: 0.1 } },
    };
    const loss = await made(`${name}-1`, 1, changes);
    for (const size of [2, 3]) {
      expect(Math.abs((await made(`${name}-${size}`, size, changes)) - loss)).toBeLessThan(1e-6);
      expect(distance('model.safetensors', `${name}-1`, `${name}-${size}`, 1)).toBeLessThan(1e-6);
    }
  },
  120_000,
);

test('a run in bfloat16 goes on with any number of processes, from the masters', async () => {
  const changes = { precision: 'bfloat16', promptsPerStep: 4, train: { freezeVision: true } };
  await made('half', 1, { ...changes, steps: 3 });
  await made('halves', 2, { ...changes, steps: 1 });
  await made('halves', 3, { ...changes, steps: 2 }, true);
  await made('halves', 1, { ...changes, steps: 3 }, true);
  // AdamW moves a weight whose gradient is near zero by its sign.
  expect(distance('model.safetensors', 'half', 'halves', 3)).toBeLessThan(0.02);
  await made('same', 2, { ...changes, steps: 3 });
  await made('again', 2, { ...changes, steps: 1 });
  await made('again', 2, { ...changes, steps: 3 }, true);
  for (const file of FILES) expect(distance(file, 'same', 'again', 3)).toBe(0);
}, 120_000);

test.each(halves)('what an update has made no numbers is taken back, by the names of the files: %s', async (output) => {
  const model = path.join(fixtures, 'configurations', output, 'model');
  const values = {
    model,
    precision: 'bfloat16',
    steps: 1,
    optimizer: { learningRate: 1e300 },
    onNonFinite: 'rollback',
  };
  for (const size of [1, 2]) {
    await made(`${output}-back${size}`, size, values);
    for (const file of FILES) expect(distance(file, `${output}-back${size}`, `${output}-back1`, 1)).toBe(0);
  }
  const [before, after] = [model, path.join(folder, `${output}-back2/checkpoints/000001`)].map((each) =>
    loadModel(each),
  );
  const weights = after!.namedParameters();
  scope(() => {
    for (const [key, each] of before!.namedParameters())
      expect([key, each.sub(weights.get(key)!).abs().max().item()]).toEqual([key, 0]);
  });
  before!.dispose();
  after!.dispose();
});

test('a run goes on with any number of processes', async () => {
  const whole = await made('whole', 1, { steps: 5 });
  await made('parts', 2, { steps: 2 });
  await made('parts', 3, { steps: 4 }, true);
  const loss = await made('parts', 1, { steps: 5 }, true);
  expect(Math.abs(loss - whole)).toBeLessThan(1e-12);
  for (const file of FILES) expect(distance(file, 'whole', 'parts', 5)).toBeLessThan(1e-12);
}, 120_000);

test('each of four has a quarter of gradients and moments, and they add up to the whole', async () => {
  const config = {
    name: 'adamw',
    learningRate: 1e-3,
    betas: [0.9, 0.999],
    states: 'full',
  } as unknown as Config['optimizer'];
  const model = loadModel(tinyModel, { dtype: 'float64' });
  onTestFinished(() => model.dispose());
  const parameters = trainable(model, { freezeVision: false });
  const items = oracleCases.map((each) => ({
    prompt: oraclePrompt(each),
    responses: each.responses.map(({ tokens }) => tokens),
  }));
  const backward = (watch?: ShardedOptimizer['shares']): void =>
    scope(() => {
      const pass = model.trained(items, { recomputed: true, watch });
      const scored = model.score(pass.hidden, pass.targets);
      pass.backward(scored.pullback(scored.logProbs.map((_, i) => Math.sin(i + 1))));
    });
  backward();
  const elements = [...parameters.values()].reduce((sum, { numel }) => sum + numel, 0);
  const norm = Math.sqrt(
    scope(() => [...parameters.values()].reduce((sum, { grad }) => sum + grad!.norm().item() ** 2, 0)),
  );
  for (const each of parameters.values()) each.grad = undefined;
  let [squares, moments] = [0, 0];
  for (let rank = 0; rank < 4; rank++) {
    // Buckets that are small beside the model, so that most leave before the pass has come to its end.
    const optimizer = new ShardedOptimizer(parameters, groupOf(rank, 4), config, new Map(), 1 << 12);
    backward(optimizer.shares);
    await optimizer.shares.collect();
    expect([...parameters.values()].filter(({ grad }) => grad)).toEqual([]);
    expect(optimizer.shares.bytes / (8 * elements)).toBeLessThan(0.26);
    squares += (await optimizer.shares.clip(Infinity)) ** 2;
    const own = [...optimizer.state().values()].reduce((sum, { numel }) => sum + numel, 0);
    expect(own / (2 * elements)).toBeLessThan(0.26);
    moments += [...optimizer.state()].reduce((sum, [key, { numel }]) => sum + (key.startsWith('step') ? 0 : numel), 0);
    optimizer.dispose();
  }
  expect(moments).toBe(2 * elements);
  expect(Math.abs(Math.sqrt(squares) / norm - 1)).toBeLessThan(1e-12);
});

test('in bfloat16 each of four has linear layers in two bytes, and a quarter of their numbers in four', () => {
  const whole = loadModel(tinyModel);
  onTestFinished(() => whole.dispose());
  const numbers = whole.namedParameters();
  const parts = new Map<string, number[]>();
  let halves = 0;
  for (let rank = 0; rank < 4; rank++) {
    const model = loadModel(tinyModel);
    onTestFinished(() => model.dispose());
    model.precision = 'bfloat16';
    const masters = shareMasters(model, { rank, size: 4 });
    halves = 0;
    for (const [key, { dtype, numel }] of model.namedParameters()) {
      expect([key, dtype]).toEqual([key, masters.has(key) ? 'bfloat16' : 'float32']);
      if (masters.has(key)) halves += numel;
    }
    for (const [key, { slice, shape }] of masters) {
      expect(shape).toEqual(numbers.get(key)!.shape);
      parts.set(key, [...(parts.get(key) ?? []), ...slice.toFloat32Array()]);
      slice.dispose();
    }
  }
  expect(halves).toBeGreaterThan(0.4 * [...numbers.values()].reduce((sum, { numel }) => sum + numel, 0));
  for (const [key, each] of parts) expect(each).toEqual([...numbers.get(key)!.toFloat32Array()]);
});
