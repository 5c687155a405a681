import { expect, test } from 'vitest';
import { counterfactual, type Switches } from './counterfactual.ts';
import { group, WEIGHTS } from './testkit.ts';

const AS_IT_WAS: Switches = {
  label: true,
  eliminate: 'on',
  smooth: 'reward',
  inject: 'always',
  thinking: 'eliminate',
  std: 'sample',
  weight: 1,
};

test('all rollouts equal and a label above them: G / sqrt(G + 1), the closed form', () => {
  const outcome = counterfactual(group(1, 'car', [0, 0, 0, 0, 0, 0, 0, 0], { active: true }), WEIGHTS, AS_IT_WAS);
  expect(outcome?.label?.active).toBe(true);
  expect(outcome?.label?.advantage).toBeCloseTo(8 / 3, 5);
  expect(outcome?.rollouts[0]).toBeCloseTo(-1 / 3, 5);
  // 14 tokens at 8/3 against 8 times 17 at 1/3.
  expect(outcome?.labelShare).toBeCloseTo((14 * 8) / (14 * 8 + 8 * 17), 5);
});

test('switches do what they say', () => {
  const reached = group(1, 'car', [0, 3], { active: false });
  expect(counterfactual(reached, WEIGHTS, AS_IT_WAS)?.label).toMatchObject({ active: false, advantage: 0 });
  expect(counterfactual(reached, WEIGHTS, { ...AS_IT_WAS, smooth: 'off' })?.label?.active).toBe(true);
  expect(counterfactual(reached, WEIGHTS, { ...AS_IT_WAS, eliminate: 'off' })?.label?.reward).toBe(4);
  expect(counterfactual(reached, WEIGHTS, { ...AS_IT_WAS, label: false })).toMatchObject({
    label: undefined,
    labelShare: 0,
  });
  const plain = counterfactual(reached, WEIGHTS, { ...AS_IT_WAS, label: false, std: 'none' });
  expect(plain?.rollouts).toEqual([-1.5, 1.5]);
  const heavy = counterfactual(group(1, 'car', [0, 0], { active: true }), WEIGHTS, { ...AS_IT_WAS, weight: 2 });
  const light = counterfactual(group(1, 'car', [0, 0], { active: true }), WEIGHTS, AS_IT_WAS);
  expect(heavy?.label?.advantage).toBeCloseTo(2 * (light?.label?.advantage ?? NaN), 12);
});

test('a label’s own thought is found in the reward before it was eliminated', () => {
  const own = group(1, 'car', [0, 3], { active: false });
  const thoughtful = { ...own, label: { ...own.label!, rewardBefore: 5.5 } };
  expect(counterfactual(thoughtful, WEIGHTS, { ...AS_IT_WAS, thinking: 'keep' })?.label?.active).toBe(false);
  expect(counterfactual(thoughtful, WEIGHTS, { ...AS_IT_WAS, thinking: 'keep', smooth: 'off' })?.label?.reward).toBe(
    5.5,
  );
});
