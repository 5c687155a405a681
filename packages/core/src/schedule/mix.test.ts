import { expect, test } from 'vitest';
import { gradualMix, roundWeight, type MixConfig } from './mix.ts';

const config = (changes: Partial<MixConfig> = {}): MixConfig => ({
  round: { sft: 1, rl: 1 },
  curve: 'linear',
  weight: { start: 0.9, end: 0.1 },
  labelRate: { start: 1, end: 0.2 },
  warmupSteps: 0,
  share: 0.5,
  ...changes,
});
const weights = (changes: Partial<MixConfig>, steps: number): number[] =>
  Array.from({ length: steps }, (_, i) => Number(gradualMix(config(changes), steps, i + 1).weight.toFixed(12)));

test('linear and cosine, from the first step to the last', () => {
  expect(weights({}, 5)).toEqual([0.9, 0.7, 0.5, 0.3, 0.1]);
  // (1 + cos(pi x)) / 2 at x = 1/4 is (2 + sqrt 2) / 4.
  const quarter = Number((0.1 + (0.8 * (2 + Math.SQRT2)) / 4).toFixed(12));
  expect(weights({ curve: 'cosine' }, 5)).toEqual([0.9, quarter, 0.5, Number((1 - quarter).toFixed(12)), 0.1]);
});

test('the label rate goes along the same curve', () => {
  expect(gradualMix(config(), 5, 3).labelRate).toBeCloseTo(0.6, 12);
});

test('a warm-up from 0, and an end before the last step', () => {
  expect(weights({ warmupSteps: 2, decaySteps: 2 }, 7)).toEqual([0, 0.45, 0.9, 0.5, 0.1, 0.1, 0.1]);
});

test('a single step has the start', () => {
  expect(weights({}, 1)).toEqual([0.9]);
});

test('rounds begin with SFT', () => {
  expect([1, 2, 3, 4, 5, 6].map((step) => roundWeight({ sft: 2, rl: 1 }, step))).toEqual([1, 1, 0, 1, 1, 0]);
});

test('without a number of its own the change ends with the last step, after a warm-up as well', () => {
  expect(weights({ warmupSteps: 2 }, 6)).toEqual([0, 0.45, 0.9, 0.633333333333, 0.366666666667, 0.1]);
});
