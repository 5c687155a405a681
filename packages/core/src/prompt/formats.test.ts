/** Image files of many kinds become the bytes that the reference sees (oracle/formats.py). */
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { expect, test } from 'vitest';
import { fixtures } from '../testing/oracle.ts';
import { decodeImage } from './decode.ts';
import { gridOf, resizePixels, smartResize, writePatches, type ImageSettings } from './image.ts';

const folder = path.join(fixtures, 'formats');
const expected = JSON.parse(readFileSync(path.join(folder, 'expected.json'), 'utf8')) as Record<
  string,
  { gridThw: number[]; sha256: string; mean: number }
>;
/** Leaves bytes as they are. */
const settings: ImageSettings = {
  patchSize: 14,
  temporalPatchSize: 2,
  mergeSize: 2,
  minPixels: 56 * 56,
  maxPixels: 12 * 28 * 28,
  mean: [0, 0, 0],
  std: [1, 1, 1],
  rescaleFactor: 1,
};

test.each(Object.entries(expected))('%s', async (name, { gridThw, sha256 }) => {
  const decoded = await decodeImage(path.join(folder, name));
  const pixels = resizePixels(decoded, smartResize(decoded, settings));
  const grid = gridOf(pixels, settings);
  expect(grid).toEqual(gridThw);
  const values = new Float32Array(grid[1] * grid[2] * 1176);
  writePatches(pixels, settings, values, 0);
  expect(createHash('sha256').update(Uint8Array.from(values)).digest('hex')).toBe(sha256);
});
