/** Readers of plugins: what they must be, and what becomes of those that fail. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { UserError } from '../../errors.ts';
import { fixtures } from '../../testing/oracle.ts';
import type { Reader } from './reader.ts';
import { defineReader, FORMATS, formatNames, registerReader } from './registry.ts';
import { rowsOf } from './testkit.ts';

let folder: string;
let count = 0;
beforeAll(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'visurf-reader-'));
});
afterAll(() => rmSync(folder, { recursive: true }));

const picture = path.join(fixtures, 'images/small-40x40.png');
const write = (name: string): string => {
  writeFileSync(path.join(folder, name), 'own\n');
  return path.join(folder, name);
};

/** Reads a file of a format of its own. */
function readOwn(items: readonly unknown[], changes: Partial<Reader> = {}, given?: string) {
  const name = `own${++count}`;
  const file = given ?? write(`a.${name}`);
  defineReader({
    name,
    knows: ({ extension }) => extension === name,
    async *read() {
      for (const item of items) yield (await Promise.resolve(item)) as never;
    },
    ...changes,
  });
  return rowsOf(file, given === undefined ? {} : { format: name });
}

const place = { file: 'a', record: 1 };

test('images become questions about their classes, in our pixels; questions stay what they are', async () => {
  const objects = [{ label: 'car', numbers: [0.25, 0.25, 0.5, 0.5], convention: { form: 'xywh', units: 'unit' } }];
  const { rows, format } = await readOwn([
    { kind: 'image', place, image: picture, objects },
    { kind: 'question', place, images: [], fields: { id: 'q', problem: '1 + 1', solution: '2', task: 'math' } },
  ]);
  expect(format).toBe(`own${count}`);
  const bySize = rows.find(({ fields }) => fields.problem === 'car');
  expect(bySize?.fields).toMatchObject({ image: picture, solution: [{ bbox_2d: [10, 10, 30, 30] }] });
  expect(rows.map(({ fields }) => fields)).toContainEqual({ id: 'q', problem: '1 + 1', solution: '2', task: 'math' });
});

test('a fault is a finding about its record', async () => {
  const { rows, findings } = await readOwn([{ kind: 'fault', place: { file: 'a', record: 7 }, message: 'is nothing' }]);
  expect(rows).toEqual([]);
  expect(findings).toMatchObject([{ severity: 'error', line: 7, message: 'is nothing' }]);
});

const failing = (): never => {
  throw new Error('no idea');
};

test.each<[string, readonly unknown[], Partial<Reader>]>([
  ['yields no item (number 1)', [undefined], {}],
  ['yields no item (number 2)', [{ kind: 'fault', place, message: '' }, { kind: 'other' }], {}],
  ['yields no item (number 1)', [{ kind: 'question', place, images: 'a.png', fields: {} }], {}],
  [
    'yields no item (number 1)',
    [{ kind: 'image', place, image: picture, objects: [{ label: 'a', numbers: [1] }] }],
    {},
  ],
  ['yields no item (number 1)', [{ kind: 'fault', place: { file: 'a', record: 0 }, message: '' }], {}],
  ['fails after 0 items: no idea', [], { read: failing }],
  ['fails to tell whether it knows the file: no idea', [], { knows: failing }],
])('a reader that is wrong is named: it %s', async (said, items, changes) => {
  const file = changes.knows ? undefined : write('b.any');
  const read = readOwn(items, changes, file);
  await expect(read).rejects.toThrow(UserError);
  await expect(read).rejects.toThrow(`the reader own${count} ${said}`);
  // Later tests ask the others.
  if (changes.knows) await expect(read).rejects.toThrow(folder);
});

test('a folder holds files by any name', async () => {
  const set = path.join(folder, 'set');
  mkdirSync(set);
  writeFileSync(path.join(set, 'one.strange'), 'own\n');
  const seen: string[] = [];
  const own: Partial<Reader> = {
    knows: ({ file }) => file.endsWith('.strange'),
    async *read({ files }) {
      for (const file of files)
        yield await Promise.resolve({ kind: 'fault' as const, place: { file, record: 1 }, message: 'seen' });
    },
  };
  const { findings } = await readOwn([], own, set);
  seen.push(...findings.map(({ file }) => path.basename(file)));
  expect(seen).toEqual(['one.strange']);
});

test('a name is one, and belongs to one format', () => {
  const reader = { name: 'mine', knows: () => false, read: failing };
  expect(defineReader(reader)).toBe(reader);
  expect(() => registerReader(reader)).not.toThrow();
  expect(formatNames().filter((name) => name === 'mine')).toHaveLength(1);
  expect(() => defineReader({ ...reader })).toThrow('there already is a format named "mine"');
  for (const name of FORMATS) expect(() => defineReader({ ...reader, name })).toThrow('there already is a format');
  for (const name of ['', 'auto', 'a b', '.a', undefined]) {
    expect(() => defineReader({ ...reader, name: name as unknown as string })).toThrow('is no name of a format');
  }
  expect(() => defineReader({ name: 'half', knows: () => true } as unknown as Reader)).toThrow('knows and read');
});
