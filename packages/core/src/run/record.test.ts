/** What a step says of itself, from groups and an update that are made up. */
import { expect, test } from 'vitest';
import { describeStep, type StepResult } from './record.ts';
import { makeScorer, makeScorers } from '../reward/reward.ts';
import { click } from '../tasks/click/click.ts';
import type { Task } from '../tasks/task.ts';
import { grounding } from '../tasks/grounding/grounding.ts';
import { groupOf, labelOf, NO_PROMPT, rolloutOf } from '../testing/groups.ts';
import type { Group, Response } from '../types.ts';

const scorer = makeScorer(grounding.create(grounding.parameters.parse({}), []));
const prompt = { ...NO_PROMPT, frames: [{ width: 10, height: 10, modelWidth: 10, modelHeight: 10 }] };
const stats = { tokens: 8, clippedLow: 1, clippedHigh: 2, ratioSum: 8, klSum: 3, klTokens: 6, klClamped: 3 };

interface Changes {
  readonly work?: StepResult['work'];
  readonly sampled?: number;
  readonly inactiveLogProb?: number;
  readonly oldLogProbs?: Map<Response, Float64Array>;
}

/** A step that has these groups. */
function resultOf(groups: readonly Group[], changes: Changes = {}): StepResult {
  const oldLogProbs = new Map(
    groups.flatMap(({ label }) => (label ? [[label.response, Float64Array.of(-1, -2)]] : [])),
  );
  const update = {
    loss: 1,
    gradientNorm: 2,
    oldLogProbs: changes.oldLogProbs ?? oldLogProbs,
    scored: 3,
    responses: 4,
    stats,
    labelGradient: 0.5,
  };
  const work = { rl: 1, sft: 0, parts: [{ prompts: groups.length, rollouts: 2, label: 'member' as const }] };
  const seconds = { prompt: 0, rollout: 0, reward: 0, update: 0 };
  const sampled = changes.sampled ?? groups.length;
  const inactiveLogProb = changes.inactiveLogProb ?? NaN;
  return { work: changes.work ?? work, groups, sampled, update, inactiveLogProb, forms: [], seconds, memory: 5 };
}

const metricsOf = (groups: readonly Group[], changes: Changes = {}): Readonly<Record<string, number>> =>
  describeStep(1, resultOf(groups, changes), scorer, 1e-3).event.metrics;

const marks = { thinking: 1, format: 2, accuracy: 0, nonRepeat: 1 };
const sampled = (logProbs: readonly number[], reward: number) => ({ tokens: logProbs, logProbs, reward, terms: marks });

test('the entropy is minus the mean log-probability of sampled tokens: positive, by token and not by response', () => {
  const group = groupOf('a', prompt, [sampled([-1, -2, -3], 1), sampled([-4], 2)]);
  expect(metricsOf([group])).toMatchObject({ entropy: 2.5, length: 2, reward: 1.5, noVariance: 0 });
});

test('labels are counted where they are; only active members have an advantage', () => {
  const rollouts = [rolloutOf(sampled([-1], 1)), rolloutOf(sampled([-1], 1))];
  const group = (advantage: number, active: boolean): Group => ({
    ...groupOf('a', prompt, []),
    rollouts,
    label: { ...labelOf({ terms: marks, advantage }, 'member'), active },
  });
  const metrics = metricsOf([
    group(2, true),
    group(3.5, true),
    group(-1, true),
    group(0, false),
    groupOf('b', prompt, [sampled([-1], 1)]),
  ]);
  expect(metrics).toMatchObject({ labelActive: 3 / 4, labelAdvantage: 1.5, labelNegative: 1 / 4, labelLogProb: -3 });
  expect(metrics).toMatchObject({ noVariance: 1, scored: 0.75, klClamped: 0.5, kl: 0.5, clippedHigh: 0.25 });
  expect(metricsOf([groupOf('b', prompt, [sampled([-1], 1)])])).not.toHaveProperty('labelActive');
});

test('masked rollouts are counted', () => {
  const cut = { ...sampled([-1], 1), stop: 'length' as const };
  const group = {
    ...groupOf('a', prompt, []),
    rollouts: [rolloutOf(cut, true), rolloutOf(cut), rolloutOf(sampled([-1], 1))],
  };
  expect(metricsOf([group])).toMatchObject({ masked: 1 / 3, cutOff: 2 / 3 });
});

test('the work of a step: weights of its losses, shares of prompts, batches that it took', () => {
  const work = {
    rl: 0.25,
    sft: 0.75,
    parts: [
      { prompts: 3, rollouts: 0, label: 'target' as const },
      { prompts: 4, rollouts: 2, label: 'target' as const },
      { prompts: 1, rollouts: 2, label: 'none' as const },
    ],
  };
  const groups = Array.from({ length: 8 }, () => groupOf('a', prompt, [sampled([-1], 1)]));
  expect(metricsOf(groups, { work, sampled: 24 })).toMatchObject({
    ...{ weightRl: 0.25, weightSft: 0.75, shareSampled: 5 / 8, shareLabelled: 7 / 8, sampledPrompts: 3 },
  });
});

test('every term of every task is a metric; per token where tokens are what is counted', () => {
  const groups = [groupOf('a', prompt, [sampled([-1], 1), { ...sampled([-1], 1), terms: { ...marks, format: 0 } }])];
  const metrics = metricsOf(groups);
  for (const name of Object.keys(scorer.weights)) expect(metrics).toHaveProperty([`reward.${name}`]);
  expect(metrics).toMatchObject({ 'reward.format': 1, 'reward.thinking': 1, clippedLow: 1 / 8, ratio: 1 });
  const clicks: Task = click.create(click.parameters.parse({}), []);
  const both = makeScorers(new Map([['grounding', scorer.task], ['click', clicks]])); // prettier-ignore
  const of = describeStep(1, resultOf(groups), both, 1e-3).event;
  expect(of).toMatchObject({ type: 'step', step: 1 });
  for (const name of Object.keys(both.others.get('click')!.weights))
    expect(of.metrics).toHaveProperty([`reward.${name}`]);
});

test('means over nothing are left out; what is skipped is counted', () => {
  const empty = { ...groupOf('a', prompt, []), skipped: 2 };
  const metrics = metricsOf([empty, { ...empty, skipped: 1 }]);
  expect(metrics.skipped).toBe(3);
  expect(Object.values(metrics).filter(Number.isNaN)).toEqual([]);
  for (const name of [
    'reward',
    'entropy',
    'length',
    'labelActive',
    'labelLogProbInactive',
    'thinking',
    'labelCopied',
  ]) {
    expect(metrics).not.toHaveProperty(name);
  }
  expect(metricsOf([groupOf('a', prompt, [sampled([-1], 1)])], { inactiveLogProb: -3 })).toMatchObject({
    labelLogProbInactive: -3,
  });
});

test('an advantage of 0 is none below it; targets have none, and labels without log-probabilities no mean', () => {
  const group = (advantage: number, place: 'member' | 'target'): Group => ({
    ...groupOf('a', prompt, [sampled([-1], 1), sampled([-1], 1)]),
    label: labelOf({ terms: marks, advantage }, place),
  });
  expect(metricsOf([group(0, 'member'), group(1, 'member'), group(-1, 'target')])).toMatchObject({
    ...{ labelActive: 1, labelAdvantage: 0.5, labelNegative: 0 },
  });
  const unscored = metricsOf([group(1, 'member')], { oldLogProbs: new Map() });
  expect(unscored).not.toHaveProperty('labelLogProb');
  expect(metricsOf([group(0, 'target')])).not.toHaveProperty('labelAdvantage');
});

test('every group is a record with what its rollouts said', () => {
  const { groups } = describeStep(7, resultOf([groupOf('a', prompt, [sampled([-1, -2], 1)])]), scorer, 1e-3);
  expect(groups).toMatchObject([{ step: 7, id: 'a', rollouts: [{ reward: 1, length: 2 }] }]);
});
