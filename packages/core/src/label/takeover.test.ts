import { expect, test } from 'vitest';

import { makeScorer } from '../reward/reward.ts';
import { grounding } from '../tasks/grounding/grounding.ts';
import { groupOf, labelOf, NO_PROMPT } from '../testing/groups.ts';
import type { Group } from '../types.ts';
import { TakeoverGuard, takeoverSigns, type TakeoverSigns } from './takeover.ts';

const scorer = makeScorer(grounding.create(grounding.parameters.parse({}), []));

const said = (text: string, thinking: number, accuracy: number) => {
  const { thinkingTerm, accuracyTerm } = scorer.task;
  return { text, terms: { [thinkingTerm]: thinking, [accuracyTerm]: accuracy } };
};
const group = (...all: readonly ReturnType<typeof said>[]): Group => groupOf('a', NO_PROMPT, all, 'member');

test('a copied answer is wrong here and the label of another prompt; thinking is a mean', () => {
  const absent = group(
    said('<answer>[]</answer>', 0, 2),
    said('<think>a</think><answer>[] </answer>', 1, 2),
  ); // prettier-ignore
  const present = group(
    said('<answer>[1]</answer>', 0, 2),
    said('<answer>[]</answer>', 0, 0),
    said('<think>a</think><answer>[2]</answer>', 1, 1),
    said('nothing', 0, 0),
  );
  expect(takeoverSigns([absent, present], scorer)).toEqual({ thinking: 0.5, labelCopied: 0.25 });
  const unlabelled = takeoverSigns([groupOf('b', NO_PROMPT, [said('<answer>[]</answer>', 1, 0)])], scorer);
  expect(unlabelled).toEqual({ thinking: 1, labelCopied: NaN });
});

test("an answer that reads like the prompt's own label is no copy, however wrong it is", () => {
  // Cut off after the answer, in another case: the marks may differ where the words do not.
  const own = group(said('<answer>yes</answer>', 0, 1), said('<answer>Yes.</answer>', 0, 0));
  const other = group(said('<answer>no</answer>', 0, 1), said('<answer>no</answer>', 0, 0.5));
  expect(takeoverSigns([own, other], scorer).labelCopied).toBe(0);
  const copying = group(said('<answer>no</answer>', 0, 1), said('<answer>yes</answer>', 0, 0));
  expect(takeoverSigns([own, copying], scorer).labelCopied).toBe(0.5);
  // Labels themselves are not among the answers that are counted, nor those that stayed aside among the labels.
  const aside = { ...own, label: labelOf(said('<answer>yes</answer>', 0, 1), 'aside') };
  expect(takeoverSigns([aside, copying], scorer).labelCopied).toBe(0);
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

test('only a wrong answer that says something is copied', () => {
  const [own, other] = ['<answer>yes</answer>', '<answer>no</answer>'];
  const copied = (rollout: ReturnType<typeof said>, place: 'member' | 'aside' = 'member') => {
    const asked = group(said(own, 0, 2), rollout);
    const neighbour = { ...group(said(other, 0, 2)), label: labelOf(said(other, 0, 2), place) };
    return takeoverSigns([asked, neighbour], scorer).labelCopied;
  };
  expect(copied(said(other, 0, 1.5))).toBe(1);
  // As accurate as its own label, whatever it says.
  expect(copied(said(other, 0, 2))).toBe(0);
  expect(copied(said('', 0, 0))).toBe(0);
  // A label that stayed aside teaches nobody; what has no answer is not taken for it.
  expect(copied(said(other, 0, 0), 'aside')).toBe(0);
  expect(copied(said('no answer', 0, 0), 'aside')).toBe(0);
  expect(copied({ text: other, terms: {} })).toBe(1);
});

test('a warning says by how much, and values that are missing count for no step', () => {
  const warnings = (sign: keyof TakeoverSigns, values: readonly (number | undefined)[]) => {
    const guard = new TakeoverGuard();
    return values.flatMap((value) => guard.observe(value === undefined ? {} : { [sign]: value }) ?? []);
  };
  expect(warnings('labelCopied', [0.1, 0.1, 0.1, 0.1, 0.5, 0.5, 0.5, 0.5])).toEqual([
    expect.stringContaining(
      '50% of the rollouts repeat a label of another prompt where it is wrong, 10% did at the start',
    ),
  ]);
  expect(warnings('thinking', [0.9, 0.9, 0.9, 0.9, 0.3, 0.3, 0.3, 0.3])).toEqual([
    expect.stringContaining('thinking fell from 90% of the rollouts to 30%'),
  ]);
  expect(warnings('labelLogProbInactive', [-9, -9, -9, -9, -2, -2, -2, -2])).toEqual([
    expect.stringContaining('rose from -9.0 to -2.0. What helps: lower optimizer.learningRate'),
  ]);
  const [few, gaps] = [
    [1, 1, 1, 0, 0, 0, 0],
    [1, undefined, 1, NaN, 1, 0, 0, 0, undefined, 0],
  ];
  expect(warnings('thinking', few)).toEqual([]);
  expect(warnings('thinking', gaps)).toEqual([]);
  expect(warnings('thinking', [...gaps, 0])).toHaveLength(1);
});

test('at the very limits: some thinking is enough to fall, and a fall to the limit is none', () => {
  const warned = (sign: keyof TakeoverSigns, start: number, now: number) =>
    watch(new TakeoverGuard(), sign, [...Array<number>(4).fill(start), ...Array<number>(4).fill(now)]).length;
  expect([warned('thinking', 0.1, 0), warned('thinking', 0.09, 0)]).toEqual([1, 0]);
  expect([warned('thinking', 1, 0.8), warned('thinking', 1, 0.79)]).toEqual([0, 1]);
  expect([warned('labelCopied', 0, 0.2), warned('labelCopied', 0, 0.19)]).toEqual([1, 0]);
  expect([warned('labelLogProbInactive', -4, -1), warned('labelLogProbInactive', -4.1, -1)]).toEqual([0, 1]);
  expect([warned('labelLogProbInactive', -8, -4), warned('labelLogProbInactive', -8, -3.9)]).toEqual([0, 1]);
});
