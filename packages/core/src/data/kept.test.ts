/** Sets of other formats are read once, and again when anything of them has changed. */
import { mkdirSync, mkdtempSync, realpathSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import sharp from 'sharp';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { readDataset } from './dataset.ts';
import { keepRows } from './kept.ts';

const reads = vi.hoisted(() => ({ count: 0 }));
vi.mock(import('./formats/formats.ts'), async (original) => {
  const real = await original();
  const readRows: typeof real.readRows = (...args) => {
    reads.count += 1;
    return real.readRows(...args);
  };
  return { ...real, readRows };
});

let folder: string;
beforeEach(async () => {
  folder = realpathSync(mkdtempSync(path.join(tmpdir(), 'visurf-kept-test-')));
  vi.stubEnv('XDG_CACHE_HOME', path.join(folder, 'cache'));
  vi.stubEnv('XDG_STATE_HOME', path.join(folder, 'state'));
  mkdirSync(place('images'), { recursive: true });
  for (const name of ['a', 'b']) await draw(name, 40);
  for (const name of ['a', 'b']) label(name, '0 0.5 0.5 0.5 0.5');
  writeFileSync(place('data.yaml'), 'train: images\nnames: [cat, dog]\n');
  reads.count = 0;
});
afterEach(() => {
  vi.unstubAllEnvs();
  rmSync(folder, { recursive: true });
});

const place = (name: string): string => path.join(folder, 'set', name);
async function draw(name: string, width: number): Promise<void> {
  const picture = sharp({ create: { width, height: 30, channels: 3, background: '#345' } });
  await picture.toFile(place(`images/${name}.png`));
}
const label = (name: string, text: string): void => {
  mkdirSync(place('labels'), { recursive: true });
  writeFileSync(place(`labels/${name}.txt`), `${text}\n`);
};
const load = async () => {
  const truths = () => ({ parseTruth: () => undefined });
  const { samples, findings } = await readDataset(place(''), { task: 'grounding', reading: 1, truths });
  return { lines: samples.map(({ id, solution }) => `${id} ${solution}`), findings };
};

test('what did not change is not read again, and is the same', async () => {
  const first = await load();
  expect(first.lines).toContain('a-cat [{"bbox_2d":[10,7.5,30,22.5]}]');
  expect(await load()).toEqual(first);
  expect(reads.count).toBe(1);
});

test.each<[string, () => unknown]>([
  ['a label', () => label('a', '1 0.5 0.5 0.5 0.5')],
  ['a picture', () => draw('a', 50)],
  ['a new picture', () => draw('c', 40)],
  ['a picture that is gone', () => rmSync(place('images/b.png'))],
  ['a label that is gone', () => rmSync(place('labels/b.txt'))],
  ['the names', () => writeFileSync(place('data.yaml'), 'train: images\nnames: [cow, dog]\n')],
])('it is read again after a change of %s', async (_, change) => {
  const before = await load();
  await change();
  const after = await load();
  expect(reads.count).toBe(2);
  expect(after.lines).not.toEqual(before.lines);
});

test('samples are there as long as they are used, whatever becomes of the cache', async () => {
  const { lines } = await keepRows(place(''), {});
  rmSync(path.join(folder, 'cache'), { recursive: true });
  expect([...lines.lines()]).toHaveLength(4);
});

test('where the cache cannot be written, the set is read every time', async () => {
  writeFileSync(path.join(folder, 'cache'), '');
  const first = await load();
  expect(await load()).toEqual(first);
  expect(reads.count).toBe(2);
});
