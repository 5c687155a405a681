import { expect, test } from 'vitest';

import { groupOf, labelOf, NO_PROMPT, rolloutOf } from '../testing/groups.ts';
import type { Group } from '../types.ts';
import { sampleDynamically } from './dynamic.ts';

const group = (id: string, advantages: readonly number[]): Group =>
  groupOf(
    id,
    NO_PROMPT,
    advantages.map((advantage) => ({ advantage })),
  );

const empty = (id: string): Group => group(id, [0, 0]);
const full = (id: string): Group => group(id, [1, -1]);

/** Gives these batches one after the other. */
const makerOf = (...batches: Group[][]) => {
  let made = 0;
  return { make: () => Promise.resolve(batches[made++] ?? []), count: () => made };
};
const ids = (groups: readonly Group[]): string => groups.map(({ sample }) => sample.id).join('');

test('off: the groups of one batch, as they come', async () => {
  const { make, count } = makerOf([empty('a'), full('b')]);
  const { groups, all } = await sampleDynamically(make, 1);
  expect([ids(groups), ids(all), count()]).toEqual(['ab', 'ab', 1]);
});

test('groups without a gradient are replaced until the batch is full', async () => {
  const batches = [[empty('a'), full('b')], [empty('c'), empty('d')], [full('e'), full('f')], [full('g')]]; // prettier-ignore
  const { make, count } = makerOf(...batches);
  const { groups, all } = await sampleDynamically(make, 9);
  expect([ids(groups), ids(all), count()]).toEqual(['be', 'abcdef', 3]);
});

test('at the limit the step goes on with what it has, and with the first batch where that is nothing', async () => {
  const some = makerOf([empty('a'), full('b')], [empty('c'), empty('d')]);
  expect(ids((await sampleDynamically(some.make, 2)).groups)).toBe('b');
  const none = makerOf([empty('a')], [empty('b')]);
  expect(ids((await sampleDynamically(none.make, 2)).groups)).toBe('a');
});

test('a label teaches where it is imitated, or has an advantage; a masked rollout does not', async () => {
  const target = (id: string): Group => groupOf(id, NO_PROMPT, [{}], 'target');
  const { make, count } = makerOf([target('a'), target('b')]);
  expect(ids((await sampleDynamically(make, 5)).groups)).toBe('ab');
  expect(count()).toBe(1);
  const masked = { ...empty('c'), rollouts: [rolloutOf({ advantage: 1 }, true)] };
  const member = { ...empty('d'), label: labelOf({ advantage: 2 }, 'member') };
  expect(ids((await sampleDynamically(makerOf([masked, member]).make, 2)).groups)).toBe('d');
});
