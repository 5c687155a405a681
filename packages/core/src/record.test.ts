/** What a step says of itself, from groups and an update that are made up. */
import { expect, test } from 'vitest';
import { describeStep } from './record.ts';
import { makeScorer } from './reward/reward.ts';
import { grounding } from './tasks/grounding/grounding.ts';
import { groupOf, labelOf, NO_PROMPT, rolloutOf } from './testing/groups.ts';
import type { Group } from './types.ts';

const scorer = makeScorer(grounding.create(grounding.parameters.parse({}), []));
const prompt = { ...NO_PROMPT, frames: [{ width: 10, height: 10, modelWidth: 10, modelHeight: 10 }] };
const stats = { tokens: 8, clippedLow: 1, clippedHigh: 2, ratioSum: 8, klSum: 4, klClamped: 2 };

function metricsOf(groups: readonly Group[]): Readonly<Record<string, number>> {
  const oldLogProbs = new Map(
    groups.flatMap(({ label }) => (label ? [[label.response, Float64Array.of(-1, -2)]] : [])),
  );
  const update = { loss: 1, gradientNorm: 2, oldLogProbs, scored: 3, responses: 4, stats, labelGradient: 0.5 };
  const terms = { rl: 1, sft: 0, parts: [{ prompts: groups.length, rollouts: 2, label: 'member' as const }] };
  const seconds = { prompt: 0, rollout: 0, reward: 0, update: 0 };
  const result = { terms, groups, sampled: groups.length, update, inactiveLogProb: NaN, forms: [], seconds, memory: 5 };
  return describeStep(1, result, scorer, 1e-3).event.metrics;
}

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
  expect(metrics).toMatchObject({ noVariance: 1, scored: 0.75, klClamped: 0.25, kl: 0.5, clippedHigh: 0.25 });
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
