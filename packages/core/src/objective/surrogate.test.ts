import { expect, test } from 'vitest';
import { klPenalty } from './kl.ts';
import { shapedSurrogate, surrogate } from './surrogate.ts';

const CLIP = { low: 0.2, high: 0.3 };
const old = [-1, -1, -1];
const expectClose = (actual: Float64Array, expected: readonly number[]): void => {
  for (const [t, value] of expected.entries()) expect(actual[t]).toBeCloseTo(value, 12);
};
/** Log-probabilities at which the ratios to `old` are these. */
const at = (...ratios: number[]) => ratios.map((ratio, t) => old[t]! + Math.log(ratio));

test('a positive advantage is clipped from above only', () => {
  const { values, derivatives, clippedLow, clippedHigh } = surrogate(at(0.5, 1.1, 2), old, 2, CLIP, 'token');
  expectClose(values, [1, 2.2, 2.6]);
  expectClose(derivatives, [1, 2.2, 0]);
  expect([clippedLow, clippedHigh]).toEqual([0, 1]);
});

test('a negative advantage is clipped from below only', () => {
  const { values, derivatives, clippedLow, clippedHigh } = surrogate(at(0.5, 1.1, 2), old, -2, CLIP, 'token');
  expectClose(values, [-1.6, -2.2, -4]);
  expectClose(derivatives, [0, -2.2, -4]);
  expect([clippedLow, clippedHigh]).toEqual([1, 0]);
});

test('without old log-probabilities the ratio is 1 exactly', () => {
  const { values, derivatives, ratioSum } = surrogate([-3, -700, -0.1], undefined, 1.7, CLIP, 'token');
  expect([...values]).toEqual([1.7, 1.7, 1.7]);
  expect([...derivatives]).toEqual([1.7, 1.7, 1.7]);
  expect(ratioSum).toBe(3);
});

test('the sequence ratio is the geometric mean of the token ratios, for every token', () => {
  const { values, derivatives } = surrogate(at(1.2, 0.9, 1.1), old, 2, CLIP, 'sequence');
  const s = (1.2 * 0.9 * 1.1) ** (1 / 3);
  for (const value of [...values, ...derivatives]) expect(value).toBeCloseTo(2 * s, 12);
  const clipped = surrogate(at(2, 2, 1), old, 2, CLIP, 'sequence');
  expect([...clipped.derivatives]).toEqual([0, 0, 0]);
  expect(clipped.clippedHigh).toBe(3);
});

test('an advantage of 0 contributes nothing, even where the ratio overflows', () => {
  const { values, derivatives } = surrogate([800], [-800], 0, CLIP, 'token');
  expect([values[0], derivatives[0]]).toEqual([0, 0]);
});

test('k3 is exp(d) - d - 1 with slope 1 - exp(d)', () => {
  const { values, derivatives } = klPenalty([-1, -2], [-1, -2 + Math.log(3)]);
  expect([values[0], derivatives[0]! + 0]).toEqual([0, 0]);
  expect(values[1]).toBeCloseTo(3 - Math.log(3) - 1, 12);
  expect(derivatives[1]).toBeCloseTo(-2, 12);
});

test('k3 is bounded: beyond |d| = 10 its value is constant, its slope 0, and it says so', () => {
  const differences = [-11, -10.5, -9.9, 9.9, 10.5, 700];
  const at = (d: number) => klPenalty([-d], [0]);
  const { values, derivatives, clamped } = klPenalty(
    differences.map((d) => -d),
    differences.map(() => 0),
  );
  expectClose(values, [Math.exp(-10) + 9, Math.exp(-10) + 9, Math.exp(-9.9) + 8.9, Math.exp(9.9) - 10.9, Math.exp(10) - 11, Math.exp(10) - 11]); // prettier-ignore
  expect(clamped).toBe(4);
  for (const [t, d] of differences.entries()) {
    const slope = (at(d - 1e-6).values[0]! - at(d + 1e-6).values[0]!) / 2e-6;
    expect(Math.abs(derivatives[t]! - slope) / Math.max(1, Math.abs(slope))).toBeLessThan(1e-5);
  }
  expect(at(10).clamped).toBe(0);
});

test('LUFFY: f(p) = p / (p + gamma), steepest by log p where p is gamma, never clipped', () => {
  const gamma = 0.1;
  const { values, derivatives, clippedHigh } = shapedSurrogate([0.1, 0.9, 0.4].map(Math.log), 2, gamma);
  expectClose(values, [1, 1.8, 1.6]);
  // gamma p / (p + gamma)^2 A: 0.01 / 0.04 * 2, 0.09 / 1 * 2, 0.04 / 0.25 * 2
  expectClose(derivatives, [0.5, 0.18, 0.32]);
  expect(clippedHigh).toBe(0);
  const negative = shapedSurrogate([-700], -2, gamma);
  expect(negative.values[0]).toBeCloseTo(0, 12);
});

test('LUFFY: what is recorded of the ratio is the sum of f(p)', () => {
  const { ratioSum } = shapedSurrogate([Math.log(0.1), Math.log(0.3)], 2, 0.1);
  expect(ratioSum).toBeCloseTo(0.5 + 0.75, 12);
});

test('a ratio at the very limit is clipped by its value and keeps its slope', () => {
  const exact = { low: 0.5, high: 1 };
  const [above, below] = [[Math.log(2)], [Math.log(0.5)]];
  // exp(log 2) is 2 exactly, exp(log 0.5) 0.5.
  expect([Math.exp(above[0]!), Math.exp(below[0]!)]).toEqual([2, 0.5]);
  expect(surrogate(above, [0], 1, exact, 'token')).toMatchObject({ clippedHigh: 0, derivatives: Float64Array.of(2) });
  expect(surrogate(below, [0], -1, exact, 'token')).toMatchObject({
    clippedLow: 0,
    derivatives: Float64Array.of(-0.5),
  });
});
