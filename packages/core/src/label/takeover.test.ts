import { expect, test } from 'vitest';

import { makeScorer } from '../reward/reward.ts';
import { grounding } from '../tasks/grounding/grounding.ts';
import { sample } from '../tasks/grounding/testkit.ts';
import type { Group, Member } from '../types.ts';
import { TakeoverGuard, takeoverSigns, type TakeoverSigns } from './takeover.ts';

const scorer = makeScorer(grounding.create(grounding.parameters.parse({}), []));

const member = (kind: Member['kind'], text: string, thinking: number, accuracy: number): Member => ({
  kind,
  response: { text, tokens: [1], stop: 'eos' },
  terms: { [scorer.task.thinkingTerm]: thinking, [scorer.task.accuracyTerm]: accuracy },
  reward: 0,
  advantage: 0,
});

const group = (...members: Member[]): Group => ({
  sample: sample([]),
  prompt: {
    rendered: '',
    inputIds: [],
    pixelValues: undefined,
    imageGridThw: [],
    positionIds: [[], [], []],
    frames: [],
  },
  members,
  label: { form: 'bare', active: true, role: 'member' },
});

test('a copied answer is wrong here and the label of another prompt; thinking is a mean', () => {
  const absent = group(
    member('label', '<answer>[]</answer>', 0, 2),
    member('rollout', '<think>a</think><answer>[] </answer>', 1, 2),
  );
  const present = group(
    member('label', '<answer>[1]</answer>', 0, 2),
    member('rollout', '<answer>[]</answer>', 0, 0),
    member('rollout', '<think>a</think><answer>[2]</answer>', 1, 1),
    member('rollout', 'nothing', 0, 0),
  );
  expect(takeoverSigns([absent, present], scorer)).toEqual({ thinking: 0.5, labelCopied: 0.25 });
  const unlabelled = takeoverSigns([group(member('rollout', '<answer>[]</answer>', 1, 0))], scorer);
  expect(unlabelled).toEqual({ thinking: 1, labelCopied: NaN });
});

const watch = (guard: TakeoverGuard, sign: keyof TakeoverSigns, values: readonly number[]): number[] =>
  values.flatMap((value, i) => (guard.observe({ [sign]: value }) ? [i + 1] : []));

test('the guard warns once, of a change since the first steps', () => {
  expect(watch(new TakeoverGuard(), 'thinking', [1, 1, 1, 1, 1, 1, 1, 0.7, 0.6, 0.5, 0.1])).toEqual([10]);
  expect(watch(new TakeoverGuard(), 'thinking', [0.3, 0.3, 0.3, 0.3, 0.3, 0.3, 0.3, 0.3])).toEqual([]);
  expect(watch(new TakeoverGuard(), 'labelCopied', [0, 0, 0, 0, 0, 0.2, 0.3, 0.4, 0.5])).toEqual([8]);
  expect(watch(new TakeoverGuard(), 'labelCopied', [0.5, 0.5, 0.5, 0.5, 0.5, 0.6, 0.6, 0.6])).toEqual([]);
  const logProbs = [-16, -16, -16, -16, -14, -12, -9, -7, -6, -2];
  expect(watch(new TakeoverGuard(), 'labelLogProbInactive', logProbs)).toEqual([10]);
  expect(watch(new TakeoverGuard(), 'labelLogProbInactive', [-2, -2, -2, -2, -1, -0.5, -0.5, -0.5])).toEqual([]);
  expect(watch(new TakeoverGuard(), 'thinking', [0.02, 0.01, 0, 0.01, 0, 0, 0, 0])).toEqual([]);
  expect(new TakeoverGuard().observe({})).toBeUndefined();
});

test('a run that goes on has the start that it had, and is not warned again', () => {
  const past = [1, 1, 1, 1, 1, 1].map((thinking) => ({ thinking }));
  expect(watch(new TakeoverGuard(past), 'thinking', [0.5, 0.5])).toEqual([2]);
  const warned = [...past, ...[0.5, 0.5].map((thinking) => ({ thinking }))];
  expect(watch(new TakeoverGuard(warned), 'thinking', [0.1])).toEqual([]);
});
