/**
 * One number, wherever it is measured: by training, by `compare`, by `evaluate` of the run, of what is exported from it, with
 * its configuration, or of weights without any, the same said by hand. Of every task all metrics, under every setting that
 * decides a question or a score.
 */
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';

import {
  compare,
  evaluate,
  exportModel,
  loadComparison,
  loadConfig,
  loadPolicy,
  readEvents,
  type Compared,
  type Evaluated,
  type MeasureOptions,
} from '@visurf/core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';

import { generateSuite } from './dataset.ts';

type Metrics = Evaluated['metrics'];

const BASE = join(import.meta.dirname, '../base');
const folder = mkdtempSync(join(tmpdir(), 'mini-numbers-'));
const at = (name: string): string => join(folder, name);
const before = process.env.XDG_STATE_HOME;
// Plugins that are named are remembered in the account.
process.env.XDG_STATE_HOME = at('state');
afterAll(() => {
  if (before === undefined) delete process.env.XDG_STATE_HOME;
  else process.env.XDG_STATE_HOME = before;
  rmSync(folder, { recursive: true });
});

interface Run {
  /** Changes to the configuration. */
  readonly config: Readonly<Record<string, unknown>>;
  /** The same, said of a model that carries nothing; what cannot be said of one is left to the configuration. */
  readonly said: MeasureOptions;
  /** What undoes one of the changes: another number is then due. */
  readonly undone: readonly (string | MeasureOptions)[];
}

const RUNS: Readonly<Record<string, Run>> = {
  scores: {
    config: {
      'task.match': 'relaxed',
      'task.weights.thinking': 0.25,
      'tasks.grounding': { iouThreshold: 0.05, boxError: 20, weights: { format: 2 } },
      'tasks.box': { iouThreshold: 0.95, boxError: 2 },
      'tasks.click.weights.format': 2,
      'tasks.anomaly.weights.nonRepeat': 1,
      'tasks.math.weights.accuracy': 3,
      'tasks.shouted.match': 'anls',
      thinking: 'whenCorrect',
      plugins: [at('task.ts'), at('reward.ts')],
    },
    said: {},
    undone: [
      'task.match=exact',
      'task.weights.thinking=0.5',
      'tasks.grounding.iouThreshold=0.5',
      'tasks.grounding.boxError=10',
      'tasks.grounding.weights.format=1',
      'tasks.box.iouThreshold=0.5',
      'tasks.box.boxError=10',
      'tasks.click.weights.format=1',
      'tasks.anomaly.weights.nonRepeat=0',
      'tasks.math.weights.accuracy=1',
      'tasks.shouted.match=exact',
      'thinking=always',
      `plugins=${at('task.ts')}`,
    ],
  },
  questions: {
    config: {
      'data.prompt': 'find {Question}',
      'data.system': 'find blue',
      'data.maxPixels': 3136,
      // Its labels have points, so answers are to have some.
      'data.train': at('data/pointed.jsonl'),
    },
    said: {
      ...{ task: 'answer', prompt: 'find {Question}', system: 'find blue', maxPixels: 3136, maxNewTokens: 32 },
      parameters: ['grounding.points=true'],
    },
    undone: ['data.prompt="{Question}"', 'data.system=""', 'data.maxPixels=12544', 'tasks.grounding.points=false'],
  },
  others: {
    config: {
      'data.task': 'math',
      'data.minPixels': 25088,
      'data.maxPixels': 50176,
    },
    said: {
      ...{ task: 'math', minPixels: 25088, maxPixels: 50176, maxNewTokens: 32 },
      parameters: ['grounding.points=false'],
    },
    undone: [{ task: 'answer' }, 'data.minPixels=3136'],
  },
  rollouts: {
    config: {
      'rollout.maxNewTokens': 18,
      'tasks.grounding.reward': 'published',
      'data.train': at('data/pointed.jsonl'),
    },
    said: {
      ...{ task: 'answer', maxNewTokens: 18 },
      parameters: ['grounding.points=true', 'grounding.reward=published'],
    },
    undone: ['rollout.maxNewTokens=32', 'tasks.grounding.reward=default'],
  },
  answers: {
    config: { 'eval.maxNewTokens': 16, paradigm: 'sft', thinking: 'whenCorrect' },
    said: {},
    undone: ['eval.maxNewTokens=32', { maxNewTokens: 17 }, 'thinking=always'],
  },
};
const NAMES = Object.keys(RUNS);

type Line = Readonly<Record<string, unknown>>;
const readLines = (name: string): Line[] =>
  readFileSync(at(`data/${name}.jsonl`), 'utf8')
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as Line);
const writeLines = (name: string, lines: readonly Line[]): void =>
  writeFileSync(at(`data/${name}.jsonl`), lines.map((line) => `${JSON.stringify(line)}\n`).join(''));

/** Samples without a task, a prompt or a set of their own, and some of a task of the user's. */
function varied({ prompt, set, task, solution, ...rest }: Line): Line {
  switch (set) {
    case 'color':
      return { ...rest, set, task, solution };
    case 'shape':
      return { ...rest, prompt, solution };
    case 'counting':
      return { ...rest, set, prompt, task: 'shouted', solution: [solution, '21', '10'] };
    case 'reading':
      // Within 5% of what the picture shows.
      return { ...rest, set, prompt, task, solution: String(1.04 * Number(solution)) };
    default:
      return { ...rest, set, prompt, task, solution };
  }
}

function withPoints({ solution, ...line }: Line): Line {
  if (line.task !== 'grounding') return { ...line, solution };
  const objects = (solution as { bbox_2d: [number, number, number, number] }[]).map(({ bbox_2d }) => {
    const [x0, y0, x1, y1] = bbox_2d;
    return { bbox_2d, point_2d: [(x0 + x1) / 2, (y0 + y1) / 2] };
  });
  return { ...line, solution: objects };
}

const TASK = `
import { defineTask, taskDefinition } from "visurf";
const answer = taskDefinition('answer');
export default defineTask({
  ...answer,
  name: 'shouted',
  create(parameters, samples) {
    const task = answer.create(parameters, samples);
    return { ...task, name: 'shouted', metrics: (all) => ({ ...task.metrics(all), answers: all.length }) };
  },
});`;

const REWARD = `
import { defineReward } from "visurf";
const score = ({ text }, { problem }) => text.length / problem.length;
export const long = defineReward({ name: 'long', weight: 0.3, score });`;

const CONFIG = `
model: ${BASE}
output: unused
data: { train: data/train.jsonl, validation: data/held.jsonl, task: answer }
plugins: [task.ts]
steps: 1
promptsPerStep: 2
rollout: { group: 2, maxNewTokens: 32 }
optimizer: { learningRate: 5.0e-4 }
eval: { every: 1 }
`;

const KINDS = { weights: [], adapter: ['train.lora={rank: 4}', 'optimizer.learningRate=0.01'] };
type Kind = keyof typeof KINDS;
/** Numbers by kind and run. */
const compared = new Map<string, Compared>();

beforeAll(async () => {
  await generateSuite(at('data'), { seed: 1, pictures: { train: 2, validation: 2, test: 0 } });
  writeLines('held', [...readLines('validation'), ...readLines('skills-validation')].map(varied).map(withPoints));
  writeLines('pointed', readLines('train').map(withPoints));
  writeFileSync(at('task.ts'), TASK);
  writeFileSync(at('reward.ts'), REWARD);
  writeFileSync(at('config.yaml'), CONFIG);
  for (const name of NAMES) {
    const run = { paradigm: 'visurf', ...RUNS[name]!.config };
    const comparison = { config: 'config.yaml', data: { held: 'data/held.jsonl' }, runs: { [name]: run } };
    for (const [kind, changes] of Object.entries(KINDS)) {
      const output = `${kind}-${name}`;
      writeFileSync(at(`${output}.yaml`), JSON.stringify({ ...comparison, output }));
      compared.set(output, await compare(loadComparison(at(`${output}.yaml`), changes)));
    }
  }
});

const runOf = (kind: Kind, name: string): string => at(`${kind}-${name}/runs/${name}/seed-0`);
/** What training said of it. */
const trained = (kind: Kind, name: string): Metrics =>
  readEvents(join(runOf(kind, name), 'events.jsonl')).findLast((event) => event.type === 'eval')!.metrics;

/** What `compare` kept. */
function stored(kind: Kind, name: string, policy = name): Metrics {
  const text = readFileSync(at(`${kind}-${name}/results/${policy}-seed-0.json`), 'utf8');
  return (JSON.parse(text) as { metrics: { held: Metrics } }).metrics.held;
}

/** What the table of `compare` shows, by the name that training has for it. */
const shown = (kind: Kind, name: string): Metrics =>
  Object.fromEntries(
    [...compared.get(`${kind}-${name}`)!.estimates.values.get(name)!]
      .filter(([column]) => column.startsWith('held.'))
      .map(([column, { mean }]) => [column.slice('held.'.length), mean]),
  );

const measured = (model: string, options: MeasureOptions = {}): Promise<Evaluated> =>
  evaluate({ ...options, model, data: at('data/held.jsonl'), output: at('answers.jsonl') });
const number = async (model: string, options?: MeasureOptions): Promise<Metrics> =>
  (await measured(model, options)).metrics;

async function exported(from: string, name: string, merge = false): Promise<string> {
  using policy = await loadPolicy(from);
  return exportModel(policy, at(name), { merge }).directory;
}

/** What a run learned, beside the files of the base: nothing says how it was trained. */
function bare(run: string, name: string): string {
  const directory = at(`bare-${name}`);
  cpSync(BASE, directory, { recursive: true });
  cpSync(join(run, 'checkpoints/000001/model.safetensors'), join(directory, 'model.safetensors'));
  return directory;
}

const configOf = (run: string, ...changes: string[]): MeasureOptions => ({
  config: loadConfig(join(run, 'config.yaml'), changes),
});

describe.each(NAMES)('%s', (name) => {
  test('all weights', async () => {
    const run = runOf('weights', name);
    const expected = trained('weights', name);
    expect(stored('weights', name)).toEqual(expected);
    expect(expected).toMatchObject(shown('weights', name));
    expect(await number(run)).toEqual(expected);
    expect(await number(await exported(run, `exported-${name}`))).toEqual(expected);
    expect(await number(run, configOf(run))).toEqual(expected);
    const weights = bare(run, name);
    expect(await number(weights, configOf(run))).toEqual(expected);
    const { said } = RUNS[name]!;
    if (Object.keys(said).length > 0) expect(await number(weights, said)).toEqual(expected);
  });

  test('an adapter', async () => {
    const run = runOf('adapter', name);
    const expected = trained('adapter', name);
    expect(stored('adapter', name)).toEqual(expected);
    expect(expected).toMatchObject(shown('adapter', name));
    const own = await measured(run);
    expect(own.metrics).toEqual(expected);
    expect(await number(await exported(run, `exported-adapter-${name}`))).toEqual(expected);
    // W + B A is rounded once more than W x + B A x: of two tokens that are equally likely another one may come first.
    const merged = await measured(await exported(run, `merged-${name}`, true));
    const others = merged.samples.filter(({ response }, i) => response.text !== own.samples[i]!.response.text);
    expect(others.length).toBeLessThanOrEqual(1);
    if (others.length === 0) expect(merged.metrics).toEqual(expected);
  });

  test.each(RUNS[name]!.undone)('another number: %j', async (change) => {
    const run = runOf('weights', name);
    expect(await number(run, typeof change === 'string' ? configOf(run, change) : change)).not.toEqual(
      trained('weights', name),
    );
  });
});

test('numbers are not trivial, and those of what was learned', () => {
  for (const kind of ['weights', 'adapter'] as const) {
    const learned = NAMES.filter((name) => !isDeepStrictEqual(trained(kind, name), stored(kind, name, 'baseline')));
    expect(learned).toContain('scores');
  }
  const metrics = trained('weights', 'scores');
  expect(metrics).toMatchObject({ 'counting.answers': 2 });
  expect(metrics['relational.gIoU']).toBeGreaterThan(10);
});
