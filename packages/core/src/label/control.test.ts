import { expect, test } from 'vitest';
import { grounding } from '../tasks/grounding/grounding.ts';
import { controlLabel, type LabelSettings } from './control.ts';

const task = grounding.create(grounding.parameters.parse({}), []);
const scorer = { task, weights: task.weights };
const LABEL = { thinking: 0, format: 2, accuracy: 3, nonRepeat: 1 };
const wrong = { thinking: 1, format: 2, accuracy: 0, nonRepeat: 1 };
const right = { ...wrong, accuracy: 3 };
const mute = { ...wrong, thinking: 0 };

const settings = (changes: Partial<LabelSettings> = {}): LabelSettings => ({
  ...{ inject: 'always', eliminate: 'on', thinking: 'eliminate', smooth: 'reward' },
  ...changes,
});

test.each([
  ['on', 0],
  ['off', 1],
  ['neutral', 0.75],
] as const)('eliminate: %s gives the label a thinking mark of %d', (eliminate, thinking) => {
  const label = controlLabel(scorer, LABEL, [wrong, wrong, wrong, mute], settings({ eliminate }));
  expect(label).toMatchObject({ joins: true, active: true, reachedBy: [], rewardBefore: 5 });
  expect(label.terms).toEqual({ ...LABEL, thinking });
  expect(label.reward).toBe(5 + thinking / 2);
});

test.each(['on', 'off', 'neutral'] as const)(
  'a label that is alone, since a reward skipped every rollout, has a reward that is a number: %s',
  (eliminate) => {
    const { joins, active, terms, reward } = controlLabel(scorer, LABEL, [], settings({ eliminate }));
    expect([joins, active, terms.thinking, reward]).toEqual(eliminate === 'off' ? [true, true, 1, 5.5] : [true, true, 0, 5]); // prettier-ignore
  },
);

test.each(['reward', 'accuracy'] as const)('smooth: %s switches the label off where a rollout reaches it', (smooth) => {
  const { active, reward, reachedBy } = controlLabel(scorer, LABEL, [wrong, right, mute, right], settings({ smooth }));
  expect([active, reachedBy]).toEqual([false, [1, 3]]);
  expect(reward).toBeCloseTo((2.5 + 5.5 + 2 + 5.5) / 4, 14);
});

test('smooth: off leaves the label as it is', () => {
  const label = controlLabel(scorer, LABEL, [wrong, right], settings({ smooth: 'off' }));
  expect(label).toMatchObject({ reward: 5, active: true, reachedBy: [] });
});

test('by reward, a thought makes up for half a mark; by accuracy it does not', () => {
  const nearly = { ...right, accuracy: 2.5 };
  const [byReward, byAccuracy] = (['reward', 'accuracy'] as const).map((smooth) =>
    controlLabel(scorer, LABEL, [wrong, nearly], settings({ smooth })),
  );
  expect(byReward).toMatchObject({ active: false, reachedBy: [1], reward: 3.75 });
  expect(byAccuracy).toMatchObject({ active: true, reachedBy: [], reward: 5 });
  const half = { ...right, accuracy: 2.4 };
  expect(controlLabel(scorer, LABEL, [wrong, half], settings()).active).toBe(true);
});

test('by reward, an accurate rollout that is malformed does not switch the label off', () => {
  const malformed = { ...right, format: 0 };
  expect(controlLabel(scorer, LABEL, [malformed], settings()).active).toBe(true);
  expect(controlLabel(scorer, LABEL, [malformed], settings({ smooth: 'accuracy' })).active).toBe(false);
});

test('what a rollout reaches is r(y) after eliminate', () => {
  const thinking = { ...LABEL, thinking: 1 };
  const mark = controlLabel(scorer, thinking, [{ ...mute, accuracy: 3 }], settings());
  expect(mark).toMatchObject({ rewardBefore: 5.5, active: false });
  expect(controlLabel(scorer, thinking, [{ ...mute, accuracy: 3 }], settings({ thinking: 'keep' })).active).toBe(true);
});

test('rewards that differ by rounding are equal', () => {
  const rounded = { ...mute, accuracy: 3 - 2e-15 };
  expect(controlLabel(scorer, LABEL, [rounded], settings()).active).toBe(false);
});

test('a label with reasoning of its own keeps the thinking mark that it earns, if asked to', () => {
  const thinking = { ...LABEL, thinking: 1 };
  const mark = (label: typeof LABEL, kept: 'keep' | 'eliminate') =>
    controlLabel(scorer, label, [wrong, mute], settings({ thinking: kept })).terms['thinking'];
  expect(mark(thinking, 'keep')).toBe(1);
  expect(mark(thinking, 'eliminate')).toBe(0);
  expect(mark(LABEL, 'keep')).toBe(0);
  expect(controlLabel(scorer, thinking, [wrong], settings({ thinking: 'keep' })).reward).toBe(5.5);
});

test('on failure, the label joins a group where no rollout is as accurate', () => {
  const onFailure = settings({ inject: 'on-failure', smooth: 'off', eliminate: 'off' });
  const nearly = { ...right, accuracy: 2.5 };
  expect(controlLabel(scorer, LABEL, [wrong, nearly], onFailure)).toMatchObject({
    joins: true,
    active: true,
    reward: 5.5,
  });
  expect(controlLabel(scorer, LABEL, [wrong, right], onFailure)).toMatchObject({
    ...{ joins: false, active: false, reachedBy: [1], reward: 5.5 },
  });
});

test('a label whose reasoning earns no mark has the one that eliminate says, kept or not', () => {
  for (const thinking of ['keep', 'eliminate'] as const) {
    const { terms } = controlLabel(scorer, LABEL, [wrong, mute], settings({ thinking, eliminate: 'off' }));
    expect(terms['thinking']).toBe(1);
    const neutral = controlLabel(scorer, LABEL, [wrong, mute], settings({ thinking, eliminate: 'neutral' }));
    expect(neutral.terms['thinking']).toBe(0.5);
  }
});
