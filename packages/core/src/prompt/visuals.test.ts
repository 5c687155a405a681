import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import sharp from 'sharp';
import { expect, test } from 'vitest';
import { patchProcessor, type ImageSettings } from './image.ts';
import { VisualReader } from './visuals.ts';

const settings: ImageSettings = {
  patchSize: 14,
  temporalPatchSize: 2,
  mergeSize: 2,
  minPixels: 28 * 28,
  maxPixels: 56 * 56,
  mean: [0, 0, 0],
  std: [1, 1, 1],
  rescaleFactor: 1,
};
const reader = new VisualReader(patchProcessor(settings), settings, 2 ** 20);
const folder = mkdtempSync(path.join(tmpdir(), 'visurf-visuals-'));

async function flat(name: string, level: number, width = 28): Promise<string> {
  const file = path.join(folder, `${name}.png`);
  await sharp({ create: { width, height: 28, channels: 3, background: { r: level, g: level, b: level } } }).toFile(
    file,
  );
  return file;
}

test('patches come in the order of appearance; the last frame of a video fills its temporal patch', async () => {
  const frames = [await flat('a', 10), await flat('b', 20), await flat('c', 30)];
  const visuals = await reader.read([
    {
      role: 'user',
      content: [
        { type: 'video', video: frames, fps: 4 },
        { type: 'image', image: await flat('still', 40) },
      ],
    },
  ]);
  expect(visuals.map(({ kind, grid }) => [kind, ...grid])).toEqual([
    ['video', 2, 2, 2],
    ['image', 1, 2, 2],
  ]);
  expect(visuals[0]).toMatchObject({ count: 3, fps: 4 });
  const patches = reader.values(visuals)!.values;
  // [channel, time, row, column]: of the first channel, one value of either time.
  const times = Array.from({ length: 12 }, (_, n) => [patches[n * 1176], patches[n * 1176 + 196]]);
  expect(times.slice(0, 4)).toEqual(Array(4).fill([10, 20]));
  expect(times.slice(4, 8)).toEqual(Array(4).fill([30, 30]));
  expect(times.slice(8)).toEqual(Array(4).fill([40, 40]));
  expect(reader.values([])).toBeUndefined();
});

test('frames of different sizes are no video', async () => {
  const video = [await flat('narrow', 0), await flat('wide', 0, 56)];
  const read = reader.read([{ role: 'user', content: [{ type: 'video', video, fps: 1 }] }]);
  await expect(read).rejects.toThrow('a frame of 56 x 28 pixels in a video of 28 x 28');
});
