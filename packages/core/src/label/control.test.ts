import { expect, test } from 'vitest';
import { groupAdvantages } from '../objective/advantage.ts';
import { totalReward } from '../reward/reward.ts';
import { grounding } from '../tasks/grounding/grounding.ts';
import { controlLabel } from './control.ts';

const task = grounding.create(grounding.parameters.parse({}), []);
const scorer = { task, weights: task.weights };
const LABEL = { thinking: 0, format: 2, accuracy: 3, nonRepeat: 1 };
const wrong = { thinking: 1, format: 2, accuracy: 0, nonRepeat: 1 };
const right = { ...wrong, accuracy: 3 };
const mute = { ...wrong, thinking: 0 };

test.each([
  ['on', 0],
  ['off', 1],
  ['neutral', 0.75],
] as const)('eliminate: %s gives the label a thinking mark of %d', (eliminate, thinking) => {
  const { terms, reward, active } = controlLabel(scorer, LABEL, [wrong, wrong, wrong, mute], {
    eliminate,
    smooth: true,
  });
  expect(terms).toEqual({ ...LABEL, thinking });
  expect(reward).toBe(5 + thinking / 2);
  expect(active).toBe(true);
});

test('smooth switches the label off where a rollout is as accurate', () => {
  const rollouts = [wrong, right, mute];
  const smoothed = controlLabel(scorer, LABEL, rollouts, { eliminate: 'on', smooth: true });
  expect(smoothed.active).toBe(false);
  expect(smoothed.reward).toBeCloseTo((2.5 + 5.5 + 2) / 3, 14);
  const rewards = rollouts.map((terms) => totalReward(terms, task.weights));
  expect(groupAdvantages(smoothed, rewards, 'sample').label).toBe(0);
  expect(controlLabel(scorer, LABEL, rollouts, { eliminate: 'on', smooth: false })).toMatchObject({
    reward: 5,
    active: true,
  });
});

test('nearly right rollouts leave the label on', () => {
  const nearly = { ...right, accuracy: 2.5 };
  expect(controlLabel(scorer, LABEL, [nearly, wrong], { eliminate: 'on', smooth: true }).active).toBe(true);
});

test('a label without its thinking mark may lose against nearly right rollouts: A_y < 0 is kept', () => {
  const label = controlLabel(scorer, LABEL, [right, right, wrong], { eliminate: 'on', smooth: false });
  const { label: advantage } = groupAdvantages(label, [5.5, 5.5, 5.5], 'sample');
  expect(advantage).toBeCloseTo(-1.5, 4);
});
