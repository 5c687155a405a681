import { expect, test } from 'vitest';

import { groupOf, labelOf, NO_PROMPT, rolloutOf } from '../testing/groups.ts';
import type { Group } from '../types.ts';
import { sampleDynamically, type PlacedGroup } from './dynamic.ts';

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
const ids = (groups: readonly PlacedGroup[]): string => groups.map(({ group: { sample } }) => sample.id).join('');

test('off: the groups of one batch, as they come', async () => {
  const { make, count } = makerOf([empty('a'), full('b')]);
  const { groups, sampled } = await sampleDynamically(make, 1);
  expect([ids(groups), sampled, count()]).toEqual(['ab', 2, 1]);
});

test('groups without a gradient are replaced until the batch is full', async () => {
  const batches = [[empty('a'), full('b')], [empty('c'), empty('d')], [full('e'), full('f')], [full('g')]]; // prettier-ignore
  const { make, count } = makerOf(...batches);
  const { groups, sampled } = await sampleDynamically(make, 9);
  expect([ids(groups), sampled, count()]).toEqual(['be', 6, 3]);
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

test('of several processes each keeps its own of the groups that are the first to teach', async () => {
  // Batches of four prompts, dealt to two processes: a b c d, then e f g h.
  const shares = [
    [
      [empty('a'), full('c')],
      [full('e'), full('g')],
    ],
    [
      [full('b'), empty('d')],
      [empty('f'), full('h')],
    ],
  ];
  const said: readonly unknown[][] = [[], []];
  const sampled = await Promise.all(
    shares.map((batches, rank) => {
      let round = 0;
      const gather = async <T>(value: T): Promise<T[]> => {
        const own = said[round++]!;
        own[rank] = value;
        while (Object.keys(own).length < 2) await new Promise((done) => setImmediate(done));
        return own as T[];
      };
      return sampleDynamically(makerOf(...batches).make, 9, { rank, gather });
    }),
  );
  expect(sampled.map(({ groups }) => ids(groups))).toEqual(['ceg', 'b']);
  expect(sampled.map(({ groups }) => groups.map(({ place }) => place))).toEqual([[1, 2, 3], [0]]);
  expect(sampled.map((each) => each.sampled)).toEqual([8, 8]);
});
