/** What every paradigm must do, whatever it trains with: two steps, the same numbers after a resume, its work on record. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

import { live } from '@visurf/torch';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';

import { keyUsers, LEAVES, usesKey } from './config/keys.ts';
import { parseConfig } from './config/load.ts';
import type { Config } from './config/schema.ts';
import { UserError } from './errors.ts';
import { readEvents, type StepEvent } from './run/events.ts';
import type { GroupRecord } from './run/groups.ts';
import { PARADIGMS, type Paradigm } from './schedule/paradigm.ts';
import { grounding } from './tasks/grounding/grounding.ts';
import { defineTask } from './tasks/registry.ts';
import { fixtures, tinyModel } from './testing/oracle.ts';
import { train } from './train.ts';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'visurf-paradigm-'));
  const lines = Array.from({ length: 4 }, (_, i) => ({
    id: `s${i}`,
    image: path.join(fixtures, 'images', 'small-40x40.png'),
    problem: 'the red circle',
    solution: i === 0 ? [] : [{ bbox_2d: [2 + i, 3, 20, 30] }],
    ...(i === 1 && { thinking: ' the left one' }),
  }));
  writeFileSync(path.join(folder, 'train.jsonl'), lines.map((line) => `${JSON.stringify(line)}\n`).join(''));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

/** Grounding in which every response is as right as any. */
const allRight = defineTask({
  name: 'all-right',
  parameters: grounding.parameters,
  create: (parameters, samples) => ({
    ...grounding.create(parameters, samples),
    name: 'all-right',
    terms: () => ({ thinking: 0, format: 0, accuracy: 1, nonRepeat: 0 }),
  }),
});

/** Grounding in which every response thinks and is wrong, but for the label. */
const thinksWrongly = defineTask({
  name: 'thinks-wrongly',
  parameters: grounding.parameters,
  create: (parameters, samples) => ({
    ...grounding.create(parameters, samples),
    name: 'thinks-wrongly',
    terms: ({ text }) => ({ thinking: 1, format: 0, accuracy: text.includes('<answer>') ? 1 : 0, nonRepeat: 0 }),
  }),
});

type Values = Record<string, unknown>;

/** A value for a dotted key, where the paradigm uses the key. */
function set(values: Values, paradigm: Paradigm, key: string, value: unknown): Values {
  if (!usesKey(paradigm, key)) return values;
  const [first = '', ...rest] = key.split('.');
  if (rest.length === 0) return { ...values, [first]: value };
  const inner = (values[first] ?? {}) as Values;
  const below = rest.reduceRight<unknown>((leaf, part) => ({ [part]: leaf }), value) as Values;
  return { ...values, [first]: { ...inner, ...below } };
}

function config(paradigm: Paradigm, output: string, changes: Values = {}): Config {
  const values: Values = {
    model: tinyModel,
    output: path.join(folder, output),
    paradigm,
    steps: 2,
    promptsPerStep: 2,
    data: { train: path.join(folder, 'train.jsonl'), prompt: 'find {Question}' },
    rollout: { maxNewTokens: 6 },
    optimizer: { learningRate: 1e-3 },
    checkpoint: { every: 1 },
    ...changes,
  };
  const used = [
    ['rollout.group', 2],
    ['sftSteps', 1],
  ] as const;
  return parseConfig(used.reduce((all, [key, value]) => set(all, paradigm, key, value), values));
}

const steps = (output: string): StepEvent[] =>
  readEvents(path.join(folder, output, 'events.jsonl')).filter((event) => event.type === 'step');
const metricsOf = (output: string) => steps(output).map(({ metrics }) => metrics);
const groupsOf = (output: string, step: number): GroupRecord[] =>
  readFileSync(path.join(folder, output, 'groups', `00000${step}.jsonl`), 'utf8')
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as GroupRecord);

/** Weights of RL and of SFT in both steps, then the shares of prompts that were sampled for and that had a label. */
// prettier-ignore
const works: Record<Paradigm, readonly (readonly [rl: number, sft: number, sampled: number, labelled: number])[]> = {
  visurf: [[1, 0, 1, 1], [1, 0, 1, 1]],
  's-grpo': [[1, 0, 1, 1], [1, 0, 1, 1]],
  luffy: [[1, 0, 1, 1], [1, 0, 1, 1]],
  rlvr: [[1, 0, 1, 0], [1, 0, 1, 0]],
  sft: [[0, 1, 0, 1], [0, 1, 0, 1]],
  dft: [[0, 1, 0, 1], [0, 1, 0, 1]],
  'sft-then-rlvr': [[0, 1, 0, 1], [1, 0, 1, 0]],
  interleaved: [[0, 1, 0, 1], [1, 0, 1, 0]],
  progressive: [[0, 1, 0, 1], [1, 0, 1, 0]],
  chord: [[0.1, 0.9, 1, 1], [0.95, 0.05, 1, 1]],
  'data-mixing': [[0.5, 0.5, 0.5, 0.5], [0.5, 0.5, 0.5, 0.5]],
};

describe.each(PARADIGMS)('%s', (paradigm) => {
  test('trains two steps, with its work on record, and resumes to the same numbers', async () => {
    const before = live().handles;
    const whole = await train(config(paradigm, 'whole'));
    expect(whole).toMatchObject({ steps: 2, interrupted: false });
    const recorded = metricsOf('whole').map((metrics) =>
      ['weightRl', 'weightSft', 'shareSampled', 'shareLabelled'].map((name) => Number(metrics[name]?.toFixed(12))),
    );
    expect(recorded).toEqual(works[paradigm]);
    for (const [i, metrics] of metricsOf('whole').entries()) {
      for (const [name, value] of Object.entries(metrics)) expect(Number.isFinite(value), name).toBe(true);
      const groups = groupsOf('whole', i + 1);
      expect(groups.filter(({ label }) => label).length / groups.length).toBe(works[paradigm][i]?.[3]);
      expect('reward' in metrics).toBe((metrics['shareSampled'] ?? 0) > 0);
      expect('labelActive' in metrics).toBe((metrics['shareLabelled'] ?? 0) > 0);
    }

    const stop = new AbortController();
    const onEvent = () => stop.abort();
    await train(config(paradigm, 'stopped'), { signal: stop.signal, onEvent: (e) => e.kind === 'step' && onEvent() });
    expect(steps('stopped')).toHaveLength(1);
    await train(config(paradigm, 'stopped'), { resume: true });
    expect(metricsOf('stopped')).toEqual(metricsOf('whole'));
    expect(groupsOf('stopped', 2)).toEqual(groupsOf('whole', 2));
    expect(live().handles).toBe(before);
  });

  test('refuses every key that it does not use, and names those that do', () => {
    const unused = LEAVES.map(({ key }) => key).filter((key) => !usesKey(paradigm, key));
    for (const key of unused) {
      const values = key.split('.').reduceRight<unknown>((leaf, part) => ({ [part]: leaf }), 1) as Values;
      const attempt = (): Config => parseConfig({ ...base, paradigm, ...values });
      expect(attempt, key).toThrow(UserError);
      expect(attempt, key).toThrow(
        `the paradigm ${paradigm} does not use ${key}; used by: ${keyUsers(key).join(', ')}`,
      );
    }
    // What nobody wrote is no mistake.
    expect(() => config(paradigm, 'x')).not.toThrow();
  });
});

const base = { model: tinyModel, output: 'o', steps: 2, data: { train: 't' } };

test('S-GRPO: the label joins the groups that failed, with the highest reward', async () => {
  await train(config('s-grpo', 'run', { steps: 1, promptsPerStep: 4 }));
  for (const { label, rollouts } of groupsOf('run', 1)) {
    // Six tokens of a random model answer nothing right.
    expect(label).toMatchObject({ place: 'member', active: true, terms: { thinking: 1 } });
    expect(rollouts).toHaveLength(2);
    expect(label!.advantage).toBeGreaterThan(0);
  }
});

test('S-GRPO: a group that did not fail does without its label', async () => {
  const data = { train: path.join(folder, 'train.jsonl'), prompt: 'find {Question}', task: allRight.name };
  await train(config('s-grpo', 'run', { steps: 1, data }));
  for (const { label, rollouts } of groupsOf('run', 1)) {
    expect(label).toMatchObject({ place: 'aside', active: false, reachedBy: [0, 1], advantage: 0 });
    expect(rollouts).toHaveLength(2);
  }
  expect(metricsOf('run')[0]).toMatchObject({ labelActive: 0, loss: 0, shareLabelled: 1 });
  await train(config('visurf', 'always', { steps: 1, data }));
  for (const { label } of groupsOf('always', 1)) expect(label).toMatchObject({ place: 'member', active: false });
});

test('a label is written with its own reasoning, and keeps its thinking mark where asked to', async () => {
  for (const [output, thinking, mark] of [['kept', 'keep', 1], ['not', 'eliminate', 0]] as const) {
    await train(config('visurf', output, { steps: 1, promptsPerStep: 4, label: { thinking } }));
    for (const { id, label } of groupsOf(output, 1)) {
      expect([id, label?.terms['thinking']]).toEqual([id, id === 's1' ? mark : 0]);
      expect(label?.text.startsWith('<think> the left one</think><answer>')).toBe(id === 's1');
    }
  } // prettier-ignore
  await train(config('sft', 'sft', { steps: 1, promptsPerStep: 4 }));
  expect(groupsOf('sft', 1).map(({ label }) => label?.text.startsWith('<think>'))).toContain(true);
});

test('thinking: whenCorrect reaches the rewards of a run', async () => {
  const data = { train: path.join(folder, 'train.jsonl'), prompt: 'find {Question}', task: thinksWrongly.name };
  for (const [thinking, mark] of [['always', 1], ['whenCorrect', 0]] as const) {
    await train(config('visurf', thinking, { steps: 1, data, thinking }));
    for (const { label, rollouts } of groupsOf(thinking, 1)) {
      expect(rollouts.map(({ terms }) => terms['thinking'])).toEqual([mark, mark]);
      // As it was scored, before eliminate.
      expect(label!.rewardBefore).toBe(1.5);
    }
  } // prettier-ignore
});

test('the weight of labels and the mask of rollouts that were cut off reach the update', async () => {
  await train(config('visurf', 'plain', { steps: 1 }));
  await train(config('visurf', 'light', { steps: 1, label: { weight: 0.25 } }));
  const [plain, light] = ['plain', 'light'].map((output) => ({
    groups: groupsOf(output, 1),
    metrics: metricsOf(output)[0]!,
  }));
  plain!.groups.forEach(({ label, rollouts }, i) => {
    const other = light!.groups[i]!;
    expect(label!.advantage).toBeGreaterThan(0);
    expect(other.label).toEqual({ ...label, weight: 0.25, advantage: 0.25 * label!.advantage });
    expect(other.rollouts).toEqual(rollouts);
  });
  const pull = ({ metrics: { labelGradient = NaN } }: NonNullable<typeof plain>) => labelGradient / (1 - labelGradient);
  expect(pull(light!)).toBeCloseTo(0.25 * pull(plain!), 10);

  // Six tokens of a random model never end by themselves.
  await train(config('visurf', 'masked', { steps: 1, objective: { truncated: 'mask' } }));
  expect(plain!.metrics).toMatchObject({ cutOff: 1, masked: 0, scored: 1 });
  expect(metricsOf('masked')[0]).toMatchObject({ cutOff: 1, masked: 1, scored: 2 / 6, labelGradient: 1 });
  for (const { rollouts } of groupsOf('masked', 1)) expect(rollouts.every(({ masked }) => masked)).toBe(true);
});

test('dynamic sampling draws further prompts, and goes on without groups that teach nothing', async () => {
  const rollout = { maxNewTokens: 6, dynamicSampling: 2 };
  await train(config('rlvr', 'run', { steps: 2, promptsPerStep: 2, rollout }));
  for (const metrics of metricsOf('run')) expect(metrics).toMatchObject({ sampledPrompts: 2, loss: 0, noVariance: 1 });
  expect(groupsOf('run', 1)).toHaveLength(2);
});
