import { mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { GroupIndex } from './group-index.ts';
import type { GroupQuery } from './group-query.ts';
import { group, response, sample, stepFile, writeRun } from './testkit.ts';

const folder = mkdtempSync(path.join(tmpdir(), 'studio-index-'));
afterAll(() => rmSync(folder, { recursive: true }));

const ALL: GroupQuery = { filter: 'all', sort: 'oldest', from: 0, limit: 100 };
const grown = (index: GroupIndex): GroupIndex => {
  while (index.advance());
  return index;
};
const ids = (index: GroupIndex, query: Partial<GroupQuery>): string[] =>
  index.query({ ...ALL, ...query }).rows.map(({ step, id }) => `${step} ${id}`);

async function madeRun(name: string): Promise<string> {
  const run = path.join(folder, name);
  await writeRun(run, {
    samples: ['car', 'dog', 'owl'].map((id) => sample(id)),
    groups: {
      1: [group(1, 'car', [0, 0], { active: true }), group(1, 'dog', [3, 3])],
      2: [group(2, 'owl', [0, 3], { active: false }), group(2, 'car', [0, 3], { active: false })],
      3: [group(3, 'dog', [0, 0]), group(3, 'owl', [3, 3], { active: false })],
    },
  });
  return run;
}

test('every filter finds what it says', async () => {
  const index = grown(new GroupIndex(await madeRun('filters'), ':memory:'));
  expect(ids(index, {})).toHaveLength(6);
  expect(ids(index, { filter: 'active' })).toEqual(['1 car']);
  expect(ids(index, { filter: 'inactive' })).toEqual(['2 owl', '2 car', '3 owl']);
  expect(ids(index, { filter: 'zero' })).toEqual(['1 car', '3 dog']);
  expect(ids(index, { filter: 'full' })).toEqual(['1 dog', '3 owl']);
  expect(ids(index, { filter: 'solved' })).toEqual(['2 car']);
  expect(ids(index, { filter: 'broken' })).toEqual(['3 dog']);
  expect(ids(index, { id: 'owl' })).toEqual(['2 owl', '3 owl']);
  expect(ids(index, { text: 'THE OWL' })).toEqual(['3 owl', '2 owl']);
  expect(ids(index, { text: '[{"bbox_2d":[60,60' })).toContain('3 dog');
  expect(ids(index, { sort: 'worst' })[0]).toBe('3 dog');
  expect(index.query({ ...ALL, limit: 2, from: 1 })).toMatchObject({ total: 6, rows: [{ id: 'dog' }, { id: 'owl' }] });
  expect(index.history('car').map(({ step }) => step)).toEqual([1, 2]);
  expect(index.read(2, 1)?.id).toBe('car');
  expect(index.read(9, 0)).toBeUndefined();
  index.close();
});

test('a group can be read before it is indexed', async () => {
  const index = new GroupIndex(await madeRun('early'), ':memory:');
  expect(index.read(2, 1)?.id).toBe('car');
  index.close();
});

test('files that change, come and go are followed; what is kept stands for the next time', async () => {
  const run = await madeRun('changes');
  const database = path.join(folder, 'index.sqlite');
  const index = grown(new GroupIndex(run, database));
  rmSync(stepFile(run, 'groups', 3));
  writeFileSync(stepFile(run, 'groups', 2), `${JSON.stringify(group(2, 'new', [3]))}\nnot a group\n{"id":1}\n{"half`);
  expect(ids(grown(index), {})).toEqual(['1 car', '1 dog', '2 new']);
  index.close();
  const again = new GroupIndex(run, database);
  expect(again.query(ALL).indexed.done).toBe(2);
  expect(grown(again).query(ALL).total).toBe(3);
  again.close();
});

test('a damaged database is made anew', async () => {
  const database = path.join(folder, 'damaged.sqlite');
  const run = await madeRun('damaged');
  grown(new GroupIndex(run, database)).close();
  truncateSync(database, 100);
  writeFileSync(
    database,
    'this is no database, but long enough to be taken for something that is one of them. '.repeat(60),
  );
  const index = grown(new GroupIndex(run, database));
  expect(index.query(ALL).total).toBe(6);
  index.close();
});

test('groups of one voice against their label come first', async () => {
  const run = path.join(folder, 'suspects');
  const wrong = { ...group(1, 'wrong', [3, 3, 3]), solution: '[]' };
  await writeRun(run, {
    samples: [{ ...sample('wrong'), boxes: [] }, sample('right'), sample('unsure')],
    groups: { 1: [wrong, group(1, 'right', [3, 3, 3]), group(1, 'unsure', [0, 3, 0])] },
  });
  const index = grown(new GroupIndex(run, ':memory:'));
  expect(index.suspects(10).map(({ id }) => id)).toEqual(['wrong', 'unsure']);
  expect(index.suspects(10)[0]?.suspicion).toBe(1);
  index.close();
});

test('words are indexed where groups are large, and searches find what reading finds', async () => {
  const run = path.join(folder, 'texts');
  const said = (text: string) => ({ ...group(1, 'car', [3]), rollouts: [{ ...response(3, { text }), masked: false }] });
  await writeRun(run, {
    groups: { 1: [said('a red lorry, parked'), said('nothing')], 2: [said('Red Lorries!')], 3: [] },
  });
  const [read, indexed] = [new GroupIndex(run, ':memory:'), new GroupIndex(run, ':memory:', 1)];
  for (const index of [read, indexed]) while (index.advance());
  const search = (index: GroupIndex, text: string): string[] =>
    index
      .query({ filter: 'all', sort: 'newest', text, from: 0, limit: 9 })
      .rows.map(({ step, place }) => `${step}.${place}`);
  for (const [text, expected] of [
    ['red lorr', ['2.0', '1.0']],
    ['lorry, parked', ['1.0']],
    ['parked red', []],
    ['!', ['2.0']],
  ] as const) {
    expect([text, search(read, text)]).toEqual([text, expected]);
    expect([text, search(indexed, text)]).toEqual([text, expected]);
  }
  // Words of a step that has changed are those that it has now.
  writeFileSync(path.join(run, 'groups/000002.jsonl'), `${JSON.stringify(said('blue van'))}\n`);
  indexed.recheck();
  while (indexed.advance());
  expect([search(indexed, 'lorries'), search(indexed, 'blue van')]).toEqual([[], ['2.0']]);
  for (const index of [read, indexed]) index.close();
});

test('spreads count every rollout once, by step and bin', async () => {
  const run = path.join(folder, 'spread');
  await writeRun(run, {
    groups: { 1: [group(1, 'car', [0, 0, 3])], 4: [group(4, 'car', [3, 3, 3]), group(4, 'owl', [0])] },
  });
  const index = new GroupIndex(run, ':memory:');
  while (index.advance());
  const { steps, bins, shares, members } = index.histogram('reward', 2);
  expect([steps, bins[0], bins.at(-1), members]).toEqual([[1, 3], 2.5, 5.5, 7]);
  expect(shares.map((column) => [column[0], column.at(-1)])).toEqual([
    [2 / 3, 1 / 3],
    [1 / 4, 3 / 4],
  ]);
  expect(
    index
      .histogram('length', 100)
      .shares.flat()
      .filter((share) => share > 0),
  ).toEqual([1, 1]);
  index.close();
});
