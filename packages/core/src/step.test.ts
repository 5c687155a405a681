/** One step in its order, with a policy that says what it is told to. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { parseConfig } from './config/load.ts';
import { loadModel } from './families/load.ts';
import { Policy } from './policy.ts';
import { PromptEncoder } from './prompt/encoder.ts';
import { loadData } from './question/training.ts';
import { defineReward, type JudgedAnswer } from './reward/reward.ts';
import type { SamplingOptions } from './rollout/respond.ts';
import type { StepResult } from './run/record.ts';
import type { StepPart, StepWork } from './schedule/paradigm.ts';
import { trainStep } from './step.ts';
import { fixtures, tinyModel } from './testing/oracle.ts';
import type { Prompt, Rollout } from './types.ts';
import { makeOptimizer, trainable } from './update/optimizer.ts';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'visurf-one-step-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

const THOUGHT = '<think> x</think><answer>[]</answer>';
const MUTE = '<answer>[]</answer>';
const SPACED = '<answer>[{"bbox_2d": [2, 3, 20, 30]}]</answer>';

class Scripted extends Policy {
  readonly asked: SamplingOptions[] = [];
  readonly shown: string[] = [];
  /** What the members of every group say, batch by batch; the last of them for all that follow. */
  readonly #script: readonly (readonly string[])[];

  constructor(script: readonly (readonly string[])[]) {
    super(tinyModel, loadModel(tinyModel), PromptEncoder.load(tinyModel));
    this.#script = script;
  }

  override async sample(prompts: readonly Prompt[], options: SamplingOptions): Promise<Rollout[][]> {
    const lines = this.#script[Math.min(this.asked.length, this.#script.length - 1)]!;
    this.asked.push(options);
    this.shown.push(...prompts.map(({ rendered }) => rendered));
    const say = (text: string): Rollout => {
      const response = this.write(text);
      return { ...response, logProbs: response.tokens.map(() => -1) };
    };
    return Promise.resolve(prompts.map(() => Array.from({ length: options.group }, (_, k) => say(lines[k]!))));
  }
}

const part = (prompts: number, rollouts: number, label: StepPart['label']): StepPart => ({ prompts, rollouts, label });
const joined: StepWork = { rl: 1, sft: 0, parts: [part(2, 2, 'member')] };

interface Stepped extends StepResult {
  /** Prompts that were answered. */
  readonly shown: readonly string[];
  readonly asked: readonly SamplingOptions[];
  readonly judged: readonly (readonly JudgedAnswer[])[];
  readonly drawn: number;
  readonly phases: readonly string[];
}

/** @param drawn samples that a draw gives, in place of two */
async function stepped(
  work: StepWork,
  script: readonly (readonly string[])[],
  changes: object = {},
  { forms = [], drawn = 2, places }: { forms?: StepResult['forms']; drawn?: number; places?: readonly number[] } = {},
): Promise<Stepped> {
  const train = path.join(folder, 'train.jsonl');
  const lines = ['small-40x40.png', 'flat-90x60.png', 'small-40x40.png'].map((name, i) =>
    JSON.stringify({
      ...{ id: `s${i}`, image: path.join(fixtures, 'images', name), problem: 'it' },
      solution: [{ bbox_2d: [2, 3, 20, 30] }],
    }),
  );
  writeFileSync(train, lines.slice(0, drawn).join('\n'));
  const config = parseConfig({
    ...{ model: tinyModel, output: path.join(folder, 'run'), steps: 1, promptsPerStep: 2, seed: 5 },
    data: { train, prompt: 'find {Question}' },
    rollout: { group: 2, maxNewTokens: 40 },
    ...changes,
  });
  const judged: JudgedAnswer[][] = [];
  const watch = defineReward({
    name: 'watch',
    weight: 0,
    scoreGroup: (answers) => {
      judged.push([...answers]);
      return answers.map(() => 0);
    },
  });
  const { samples, experiment } = await loadData(
    { ...config, data: { ...config.data, allowOutside: true } },
    { rewards: [watch] },
  );
  using policy = new Scripted(script);
  const parameters = trainable(policy.model, config.train);
  const optimizer = makeOptimizer(parameters, config.optimizer);
  const learner = { model: policy.model, reference: undefined, parameters, optimizer };
  const phases: string[] = [];
  const context = {
    ...{ config, policy, learner, scorer: experiment.scorer },
    onPhase: (phase: string) => void phases.push(phase),
  };
  let draws = 0;
  const draw = () => {
    draws += 1;
    return { samples: samples.slice(), indices: places ?? Array.from(samples, (_, i) => 10 * draws + i) };
  };
  try {
    const result = await trainStep(context, draw, 3, work, 1e-3, forms);
    return { ...result, asked: policy.asked, shown: policy.shown, judged, drawn: draws, phases };
  } finally {
    optimizer.dispose();
  }
}

test('a batch that does not fit the work of its step is a bug', async () => {
  await expect(stepped(joined, [[MUTE, MUTE]], {}, { drawn: 3 })).rejects.toThrow('3 samples for 2 prompts');
  await expect(stepped(joined, [[MUTE, MUTE]], {}, { drawn: 1 })).rejects.toThrow('1 samples for 2 prompts');
});

test('prompt, rollout, reward, update: in that order, each with its time; noise is keyed by seed, step and place', async () => {
  const { phases, seconds, asked, shown, groups, work, update } = await stepped(joined, [[MUTE, THOUGHT]]);
  expect(phases).toEqual(['prompt', 'rollout', 'reward', 'update']);
  expect(Math.min(...Object.values(seconds))).toBeGreaterThan(0);
  expect(asked).toMatchObject([{ seed: 5, step: 3, promptIds: [10, 11], group: 2, maxNewTokens: 40 }]);
  expect(groups.map(({ sample }) => sample.id)).toEqual(['s0', 's1']);
  expect(groups.map(({ rollouts }) => rollouts.map(({ response }) => response.text))).toEqual(
    groups.map(() => [MUTE, THOUGHT]),
  );
  expect(work).toBe(joined);
  expect(shown.map((each) => each.includes('find it'))).toEqual([true, true]);
  expect(Number.isFinite(update.loss)).toBe(true);
});

test('every part has its label: a member is judged with its group, a target only beside rollouts, none not at all', async () => {
  const labels = async (...parts: StepPart[]) => {
    const work = { rl: 0.5, sft: 0.5, parts };
    const { groups, judged } = await stepped(work, [[MUTE, THOUGHT]], { paradigm: 'data-mixing' });
    return { groups, judged: judged.map((answers) => answers.map(({ isLabel }) => isLabel)) };
  };
  const member = await labels(part(1, 2, 'member'), part(1, 2, 'none'));
  expect(member.judged).toEqual([[false, false, true], [false, false]]); // prettier-ignore
  expect(member.groups.map(({ label }) => label?.place)).toEqual(['member', undefined]);
  expect(member.groups[0]!.label!.terms).toMatchObject({ accuracy: 3, watch: 0 });
  const target = await labels(part(1, 2, 'target'), part(1, 0, 'target'));
  expect(target.judged).toEqual([[false, false, true]]);
  expect(target.groups.map(({ label }) => label?.place)).toEqual(['target', 'target']);
  expect(target.groups.map(({ label }) => Object.keys(label!.terms).length > 0)).toEqual([true, false]);
  expect(target.groups.map(({ rollouts }) => rollouts.length)).toEqual([2, 0]);
  expect(target.groups.map(({ skipped }) => skipped)).toEqual([0, 0]);
});

test('a label takes the form of the rollouts of its own step, before those of others; they are remembered', async () => {
  const before = [{ 'grounding/compact integer bare': 3 }];
  const own = await stepped(joined, [[SPACED, SPACED]], {}, { forms: before });
  expect(own.groups.map(({ label }) => label!.form)).toEqual(['spaced integer bare', 'spaced integer bare']);
  expect(own.forms).toEqual([...before, { 'grounding/spaced integer bare': 4 }]);
  const outvoted = await stepped(joined, [[SPACED, MUTE]], {}, { forms: before });
  expect(outvoted.groups.map(({ label }) => label!.form)).toEqual(['compact integer bare', 'compact integer bare']);
});

test('dynamic sampling draws again until the step is full, and counts all that it made', async () => {
  const [same, other] = [[MUTE, MUTE], [MUTE, THOUGHT]]; // prettier-ignore
  const work: StepWork = { rl: 1, sft: 0, parts: [part(2, 2, 'none')] };
  const changes = { paradigm: 'rlvr', rollout: { group: 2, maxNewTokens: 40, dynamicSampling: 5 } };
  const full = await stepped(work, [same, other], changes);
  expect([full.drawn, full.groups.length, full.sampled]).toEqual([2, 2, 4]);
  expect(full.asked.map(({ promptIds }) => promptIds)).toEqual([[10, 11], [20, 21]]); // prettier-ignore
  const once = await stepped(work, [same, other], { paradigm: 'rlvr' });
  expect([once.drawn, once.groups.length, once.sampled]).toEqual([1, 2, 2]);
});

test('a sample that comes again in a step has noise of its own every time', async () => {
  const work: StepWork = { rl: 1, sft: 0, parts: [part(2, 2, 'none')] };
  const changes = { paradigm: 'rlvr', rollout: { group: 2, maxNewTokens: 40, dynamicSampling: 3 } };
  const { asked } = await stepped(work, [[MUTE, MUTE]], changes, { places: [4, 4] });
  const ids = asked.flatMap(({ promptIds }) => promptIds);
  expect([ids.length, new Set(ids).size, ids[0]]).toEqual([6, 6, 4]);
});

test('how likely labels are that were switched off; without any it is no number', async () => {
  const off = await stepped(joined, [[SPACED, `<think> x</think>${SPACED}`]]);
  // The other picture is seen at another size, where these numbers are another box.
  expect(off.groups.map(({ label }) => label!.active)).toContain(false);
  expect(off.inactiveLogProb).toBeLessThan(0);
  const on = await stepped(joined, [[MUTE, THOUGHT]]);
  expect(on.groups.map(({ label }) => label!.active)).toEqual([true, true]);
  expect(on.inactiveLogProb).toBeNaN();
});
