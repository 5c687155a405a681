import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import sharp from 'sharp';
import { afterAll, beforeAll, expect, test } from 'vitest';

import { generateDataset, type Line } from './dataset.ts';

const IMAGES = { train: 6, validation: 2, test: 3 };
let directory = '';
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'mini-grounding-'));
});
afterAll(() => rm(directory, { recursive: true }));

const lines = async (file: string): Promise<Line[]> =>
  (await readFile(file, 'utf8'))
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as Line);

test('each image has one question that something matches and one that nothing does', async () => {
  const files = await generateDataset(join(directory, 'a'), { seed: 1, images: IMAGES });
  const train = await lines(files.train);
  expect(train).toHaveLength(2 * IMAGES.train);
  expect(await lines(files.test)).toHaveLength(2 * IMAGES.test);
  expect(new Set(train.map(({ id }) => id)).size).toBe(train.length);
  for (const { kind, solution, problem, image } of train) {
    expect(solution).toHaveLength(kind === 'present' ? 1 : 0);
    expect(problem).toMatch(/^\w+ \w+$/);
    const { width, height, format } = await sharp(join(directory, 'a', image)).metadata();
    expect([width, height, format]).toEqual([112, 112, 'png']);
  }
});

test('a seed gives the same data again, another seed and another split give other data', async () => {
  const again = await generateDataset(join(directory, 'b'), { seed: 1, images: IMAGES });
  const other = await generateDataset(join(directory, 'c'), { seed: 2, images: IMAGES });
  const pixels = (folder: string, name: string): Promise<Buffer> =>
    sharp(join(directory, folder, 'images', name))
      .raw()
      .toBuffer();
  expect(await readFile(again.train)).toEqual(await readFile(join(directory, 'a', 'train.jsonl')));
  expect(await pixels('b', 'train-00000.png')).toEqual(await pixels('a', 'train-00000.png'));
  expect(await pixels('c', 'train-00000.png')).not.toEqual(await pixels('a', 'train-00000.png'));
  expect(await pixels('a', 'test-00000.png')).not.toEqual(await pixels('a', 'train-00000.png'));
  expect(await readFile(other.test)).not.toEqual(await readFile(again.test));
});

test('it stops when it is asked to', async () => {
  const signal = AbortSignal.abort();
  await expect(generateDataset(join(directory, 'd'), { seed: 1, images: IMAGES, signal })).rejects.toThrow();
});
