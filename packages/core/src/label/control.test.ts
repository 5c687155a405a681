import { expect, test } from 'vitest';
import { groupAdvantages } from '../objective/advantage.ts';
import { totalReward } from '../reward/reward.ts';
import { grounding } from '../tasks/grounding/grounding.ts';
import { allFailed, controlLabel } from './control.ts';

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
    thinking: 'eliminate',
    smooth: true,
  });
  expect(terms).toEqual({ ...LABEL, thinking });
  expect(reward).toBe(5 + thinking / 2);
  expect(active).toBe(true);
});

test('smooth switches the label off where a rollout is as accurate', () => {
  const rollouts = [wrong, right, mute];
  const smoothed = controlLabel(scorer, LABEL, rollouts, { eliminate: 'on', thinking: 'eliminate', smooth: true });
  expect(smoothed.active).toBe(false);
  expect(smoothed.reward).toBeCloseTo((2.5 + 5.5 + 2) / 3, 14);
  const rewards = rollouts.map((terms) => totalReward(terms, task.weights));
  expect(groupAdvantages(smoothed, rewards, 'sample').label).toBe(0);
  expect(
    controlLabel(scorer, LABEL, rollouts, { eliminate: 'on', thinking: 'eliminate', smooth: false }),
  ).toMatchObject({
    reward: 5,
    active: true,
  });
});

test('nearly right rollouts leave the label on', () => {
  const nearly = { ...right, accuracy: 2.5 };
  expect(
    controlLabel(scorer, LABEL, [nearly, wrong], { eliminate: 'on', thinking: 'eliminate', smooth: true }).active,
  ).toBe(true);
});

test('a label without its thinking mark may lose against nearly right rollouts: A_y < 0 is kept', () => {
  const label = controlLabel(scorer, LABEL, [right, right, wrong], {
    eliminate: 'on',
    thinking: 'eliminate',
    smooth: false,
  });
  const { label: advantage } = groupAdvantages(label, [5.5, 5.5, 5.5], 'sample');
  expect(advantage).toBeCloseTo(-1.5, 4);
});

test('a label with reasoning of its own keeps the thinking mark that it earns, if asked to', () => {
  const settings = { eliminate: 'on', smooth: true } as const;
  const thinking = { ...LABEL, thinking: 1 };
  const mark = (label: typeof LABEL, kept: 'keep' | 'eliminate') =>
    controlLabel(scorer, label, [wrong, mute], { ...settings, thinking: kept }).terms['thinking'];
  expect(mark(thinking, 'keep')).toBe(1);
  expect(mark(thinking, 'eliminate')).toBe(0);
  expect(mark(LABEL, 'keep')).toBe(0);
  expect(controlLabel(scorer, thinking, [wrong], { ...settings, thinking: 'keep' }).reward).toBe(5.5);
});

test('a group failed where no rollout is as accurate as the label', () => {
  const nearly = { ...right, accuracy: 2.5 };
  expect(allFailed(task, LABEL, [wrong, nearly])).toBe(true);
  expect(allFailed(task, LABEL, [wrong, right])).toBe(false);
});
