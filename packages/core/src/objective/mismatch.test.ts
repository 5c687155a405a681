import { expect, test } from 'vitest';

import { addMismatch, isFarOff, mismatchOf, truncatedWeights } from './mismatch.ts';
import { batchTotals, evaluateResponse, planGroup, type ObjectiveConfig, type PlannedResponse } from './objective.ts';

const ln = Math.log;

test('w is pi_old / mu of every token, at most C', () => {
  const old = [ln(0.5), ln(0.2), ln(0.9)];
  const sampled = [ln(0.25), ln(0.4), ln(0.1)];
  const weights = [...truncatedWeights(old, sampled, 'token', 3)];
  expect(weights[0]).toBeCloseTo(2, 14);
  expect(weights[1]).toBeCloseTo(0.5, 14);
  expect(weights[2]).toBe(3);
});

test('with the ratio of a sequence all tokens have the geometric mean', () => {
  const weights = truncatedWeights([ln(0.4), ln(0.4)], [ln(0.1), ln(0.4)], 'sequence', 3);
  expect([...weights]).toEqual([expect.closeTo(2, 14), expect.closeTo(2, 14)]);
  expect([...truncatedWeights([ln(0.9), ln(0.9)], [ln(0.01), ln(0.01)], 'sequence', 3)]).toEqual([3, 3]);
});

test('a response is too far off by the product over its tokens, in both directions', () => {
  const of = (...ratios: number[]): boolean => isFarOff(ratios.map(ln), ratios.map(() => 0), 3); // prettier-ignore
  expect(of(1.7, 1.7)).toBe(false);
  expect(of(1.8, 1.8)).toBe(true);
  expect(of(1 / 1.7, 1 / 1.7)).toBe(false);
  expect(of(1 / 1.8, 1 / 1.8)).toBe(true);
  expect(of(100, 1 / 100)).toBe(false);
});

test('what is measured', () => {
  const first = mismatchOf([ln(0.5), ln(0.2)], [ln(0.25), ln(0.4)], 1.5);
  expect(first).toMatchObject({ tokens: 2, capped: 1, rollouts: 1, farOff: 0 });
  expect(first.distance).toBeCloseTo(2 * ln(2), 14);
  expect(first.largest).toBeCloseTo(2, 14);
  const second = mismatchOf([ln(0.8)], [ln(0.2)], 1.5);
  expect(addMismatch(first, second)).toMatchObject({ tokens: 3, capped: 2, rollouts: 2, farOff: 1 });
  expect(addMismatch(first, second).largest).toBeCloseTo(4, 14);
});

const config: ObjectiveConfig = {
  ...{ clip: { low: 0.2, high: 0.2 }, std: 'sample', ratio: 'token' },
  ...{ aggregate: { tokens: 'mean', over: 'batch' }, kl: { coefficient: 0.5, labels: false } },
};
const sft = { aggregate: { tokens: 'mean', over: 'batch' }, weighting: 'uniform' } as const;
const rollout: PlannedResponse = { as: 'rollout', advantage: 2, tokens: 2 };

test('weights are on the surrogate alone: a penalty and its derivative stay', () => {
  const [plan] = planGroup([rollout], batchTotals([[rollout]]), { rl: 1, sft: 0 }, config, sft);
  const logProbs = [-1, -2];
  const reference = [-1.5, -1];
  const plain = evaluateResponse(plan!, logProbs, { reference });
  const weighted = evaluateResponse(plan!, logProbs, { reference, weights: [0.5, 3] });
  // At the old policy a term is -A / N = -1, its derivative too.
  expect(weighted.loss - plain.loss).toBeCloseTo(-(0.5 + 3) + 2, 14);
  expect(weighted.coefficients[0]! - plain.coefficients[0]!).toBeCloseTo(0.5, 14);
  expect(weighted.coefficients[1]! - plain.coefficients[1]!).toBeCloseTo(-2, 14);
});

test('the expectation under mu of the weighted gradient is that under pi_old', () => {
  // One token of three: sum over tokens of mu w A d log pi = sum of pi A d log pi where nothing is capped.
  const [pi, mu, reward] = [
    [0.5, 0.3, 0.2],
    [0.2, 0.3, 0.5],
    [1, -2, 4],
  ];
  const expectation = pi.map((p, token) => {
    const single: PlannedResponse = { as: 'rollout', advantage: reward[token]!, tokens: 1 };
    const settings = { ...config, kl: { coefficient: 0, labels: false } };
    const [plan] = planGroup([single], batchTotals([[single]]), { rl: 1, sft: 0 }, settings, sft);
    const weights = truncatedWeights([ln(p)], [ln(mu[token]!)], 'token', 3);
    return mu[token]! * evaluateResponse(plan!, [ln(p)], { weights }).coefficients[0]!;
  });
  expectation.forEach((value, token) => expect(value).toBeCloseTo(-pi[token]! * reward[token]!, 14));
});
