import fc from 'fast-check';
import { expect, test } from 'vitest';
import { advantages, average, groupAdvantages } from './advantage.ts';

const G = 8;
const none = Array<number>(G).fill(0);

test.each([
  ['sample', 2.667, G / Math.sqrt(G + 1)],
  ['population', 2.828, Math.sqrt(G)],
] as const)('all rollouts 0 and a label of 1, G = 8, %s std', (std, rounded, exact) => {
  const { label, rollouts } = groupAdvantages({ reward: 1, active: true }, none, std);
  expect(label).toBeCloseTo(rounded, 3);
  expect(Math.abs(label! - exact)).toBeLessThan(1e-4); // the 1e-6 beside the std
  for (const advantage of rollouts) expect(advantage).toBeCloseTo(-exact / G, 5);
});

test('without a std the advantage is the centred reward', () => {
  const { label, rollouts } = groupAdvantages({ reward: 1, active: true }, none, 'none');
  expect(label).toBeCloseTo(8 / 9, 12);
  expect(rollouts[0]).toBeCloseTo(-1 / 9, 12);
});

test('plain arithmetic: rewards 1, 2, 3, 6', () => {
  const sample = Math.sqrt(14 / 3) + 1e-6;
  const population = Math.sqrt(14 / 4) + 1e-6;
  expect(advantages([1, 2, 3, 6], 'sample')).toEqual([-2 / sample, -1 / sample, 0, 3 / sample]);
  expect(advantages([1, 2, 3, 6], 'population')).toEqual([-2 / population, -1 / population, 0, 3 / population]);
});

test('equal rewards give 0 everywhere, by value and not by std', () => {
  for (const std of ['sample', 'population', 'none'] as const) {
    expect(advantages(Array<number>(G).fill(0.1), std)).toEqual(none);
    expect(advantages([0.1], std)).toEqual([0]);
    expect(advantages([0, 1e-9], std)).not.toContain(0);
  }
});

test.each([
  ['sample', Math.sqrt(G / (G - 1)), 0.9503],
  ['population', Math.sqrt((G + 1) / G), 0.9428],
] as const)('a smoothed label scales the advantages of RLVR, %s std', (std, factor, gradientFactor) => {
  const rewards = [1, 0, 2, 5.5, 3, 0, 1, 2.5];
  const alone = advantages(rewards, std);
  const { label, rollouts } = groupAdvantages({ reward: average(rewards), active: false }, rewards, std);
  expect(label).toBe(0);
  for (const [j, advantage] of rollouts.entries()) {
    expect(advantage / alone[j]!).toBeCloseTo(std === 'sample' ? factor : Math.sqrt((G + 1) / G), 6);
    expect(advantage / (G + 1) / (alone[j]! / G)).toBeCloseTo(gradientFactor, 4);
  }
});

test('a smoothed label has the literal 0, also where (7) rounds', () => {
  const rewards = [0.2, 0.2, 0];
  const smoothed = { reward: average(rewards), active: false };
  expect(advantages([smoothed.reward, ...rewards], 'sample')[0]).not.toBe(0);
  expect(groupAdvantages(smoothed, rewards, 'sample').label).toBe(0);
});

test('a smoothed label among equal rollouts leaves an equal group', () => {
  const rewards = Array<number>(G).fill(0.1);
  expect(groupAdvantages({ reward: average(rewards), active: false }, rewards, 'sample').rollouts).toEqual(none);
});

test('advantages are centred, and scaled by the std', () => {
  const reward = fc.integer({ min: -8, max: 24 }).map((value) => value / 4);
  fc.assert(
    fc.property(fc.array(reward, { minLength: 2, maxLength: 9 }), (rewards) => {
      const values = advantages(rewards, 'sample');
      expect(values.reduce((sum, value) => sum + value, 0)).toBeCloseTo(0, 9);
      const squares = values.reduce((sum, value) => sum + value ** 2, 0);
      expect(squares / (rewards.length - 1)).toBeCloseTo(new Set(rewards).size > 1 ? 1 : 0, 4);
    }),
  );
});

test('a reward that is not a number is a bug', () => {
  expect(() => advantages([1, NaN], 'sample')).toThrow('finite');
});

test('RLOO: each reward against the mean of the others', () => {
  const expected = [1 - 11 / 3, 2 - 10 / 3, 0, 6 - 2];
  advantages([1, 2, 3, 6], 'none', 'leave-one-out').forEach((a, i) => expect(a).toBeCloseTo(expected[i]!, 12));
  // G / (G - 1) times Dr.GRPO's.
  const centred = advantages([1, 2, 3, 6], 'none');
  advantages([1, 2, 3, 6], 'none', 'leave-one-out').forEach((a, i) => expect(a).toBeCloseTo((centred[i]! * 4) / 3, 12));
  const { label, rollouts } = groupAdvantages({ reward: 1, active: true }, [0, 0], 'none', 'leave-one-out');
  [label!, ...rollouts].forEach((a, i) => expect(a).toBeCloseTo([1, -0.5, -0.5][i]!, 12));
  expect(advantages([2, 2], 'none', 'leave-one-out')).toEqual([0, 0]);
});
