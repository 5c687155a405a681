/**
 * What the correction of rollouts is worth: the miniature learns from a server that answers with other weights than it was
 * given, and says so in its log-probabilities. Writes docs/results/wrong-server.json:
 *
 *     node bench/wrong-server.ts [--steps 30] [--seeds 2] [--first 0]
 *
 * `--first` goes on with the file: seeds before it are taken from there, and must be of as many steps.
 * The server rounds every matrix to steps of a fraction of its standard deviation, as one that serves few bits would.
 */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';

import { parseConfig, train, type Policy } from '@visurf/core';
import { readEvents } from '@visurf/core/records';
import { generateDataset } from '@visurf/mini-grounding';

import { ModelServer } from '../packages/core/src/testing/model-server.ts';

const root = join(import.meta.dirname, '..');
const base = join(root, 'recipes/mini-grounding/base');
const file = join(root, 'docs/results/wrong-server.json');

const { values } = parseArgs({
  options: {
    steps: { type: 'string', default: '30' },
    seeds: { type: 'string', default: '2' },
    first: { type: 'string', default: '0' },
  },
});
const [steps, seeds, first] = [Number(values.steps), Number(values.seeds), Number(values.first)];

/** Steps that matrices are rounded to, in standard deviations. */
const coarse = 0.8;

function rounded({ model }: Policy): void {
  for (const each of model.namedParameters().values()) {
    if (each.shape.length < 2) continue;
    const flat = each.toFloat64Array();
    const step = coarse * Math.sqrt(flat.reduce((sum, value) => sum + value * value, 0) / flat.length);
    if (step > 0) each.copy_(each.div(step).round().mul(step));
  }
}

const arms = [
  { name: 'a right server', spoil: undefined, correction: 'truncate' },
  { name: 'a wrong one, `none`', spoil: rounded, correction: 'none' },
  { name: 'a wrong one, `truncate`', spoil: rounded, correction: 'truncate' },
  { name: 'a wrong one, `mask`', spoil: rounded, correction: 'mask' },
] as const;

const mean = (numbers: readonly number[]): number => numbers.reduce((a, b) => a + b, 0) / numbers.length;

async function measure(arm: (typeof arms)[number], seed: number, folder: string) {
  await using server = await ModelServer.start({ program: 'vllm', model: base, spoil: arm.spoil ?? (() => undefined) });
  const output = join(folder, `${arm.correction}-${arm.spoil ? 'wrong' : 'right'}-${seed}`);
  const config = parseConfig({
    ...{ model: base, output, steps, promptsPerStep: 8, seed, task: { boxError: 3 } },
    data: { train: join(folder, 'train.jsonl'), validation: join(folder, 'validation.jsonl') },
    rollout: {
      ...{ group: 8, maxNewTokens: 40, backend: 'vllm', servers: [server.url] },
      correction: arm.correction,
    },
    objective: { aggregate: { tokens: 'sum', over: 'sequence', normalizer: 18 } },
    optimizer: { learningRate: 2e-3, betas: [0.9, 0.99], warmupSteps: 4 },
    ...{ train: { lora: { rank: 16 }, microBatch: { prompts: 8 } }, record: { images: 'none' } },
  });
  await train(config);
  const events = readEvents(join(output, 'events.jsonl'));
  const evaluations = events.filter((event) => event.type === 'eval').map(({ metrics }) => metrics);
  const made = events.filter((event) => event.type === 'step').map(({ metrics }) => metrics);
  const over = (key: string): number => mean(made.flatMap((metrics) => metrics[key] ?? []));
  return {
    before: evaluations[0]!['reward']!,
    after: evaluations.at(-1)!['reward']!,
    mismatch: over('mismatch'),
    capped: over('mismatchCapped'),
    masked: over('mismatchMasked'),
  };
}

/** Runs by arm of the seeds before the first. */
function runsBefore(): object[][] {
  if (first === 0) return arms.map(() => []);
  const made = JSON.parse(readFileSync(file, 'utf8')) as {
    steps: number;
    coarse: number;
    results: { runs: object[] }[];
  };
  const runs = arms.map((_, i) => made.results[i]?.runs ?? []);
  if (made.steps !== steps || made.coarse !== coarse || runs.some(({ length }) => length < first)) {
    throw new Error(`${file} has no ${first} seeds of ${steps} steps`);
  }
  return runs.map((each) => each.slice(0, first));
}

const before = runsBefore();
const folder = mkdtempSync(join(tmpdir(), 'visurf-wrong-server-'));
try {
  await generateDataset(folder, { seed: 0, images: { train: 400, validation: 40, test: 1 } });
  const results = arms.map(({ name }, i) => ({ name, runs: before[i]! }));
  for (let seed = first; seed < seeds; seed++) {
    for (const [i, arm] of arms.entries()) {
      const run = await measure(arm, seed, folder);
      results[i]!.runs.push(run);
      console.log(arm.name, seed, run);
    }
    // Seeds that are whole: all servers have had them.
    writeFileSync(file, `${JSON.stringify({ steps, coarse, results }, null, 2)}\n`);
  }
} finally {
  rmSync(folder, { recursive: true, force: true });
}
