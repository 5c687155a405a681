import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { UserError } from '../errors.ts';
import { loadImageSettings, loadVideoSettings, resizePixels, writePatches, type ImageSettings } from './image.ts';
import { clipProcessor } from '../families/processor.ts';
import { roundHalfToEven, smartResize } from './resize.ts';

const settings: ImageSettings = {
  patchSize: 14,
  temporalPatchSize: 2,
  mergeSize: 2,
  minPixels: 56 * 56,
  maxPixels: 28 * 28 * 1280,
  mean: [0, 0, 0],
  std: [1, 1, 1],
  rescaleFactor: 1 / 255,
};

test('halves round to even', () => {
  expect([0.5, 1.5, 2.5, 3.5, 2.4, 2.6].map(roundHalfToEven)).toEqual([0, 2, 2, 4, 2, 3]);
});

// Expected: smart_resize of transformers 5.23.
test.each([
  [70, 98, 56, 112],
  [42, 700, 56, 700],
  [1000, 10, 560, 28],
  [4000, 3000, 1148, 840],
  [4, 800, 28, 812],
  [20000, 100, 14140, 56],
  [57, 33, 84, 56],
])('%d x %d becomes %d x %d', (width, height, newWidth, newHeight) => {
  expect(smartResize({ width, height }, settings)).toEqual({ width: newWidth, height: newHeight });
});

test('every size is a multiple of the merge unit, within the limits', () => {
  const side = fc.integer({ min: 4, max: 20_000 });
  fc.assert(
    fc.property(side, side, (width, height) => {
      fc.pre(Math.max(width, height) / Math.min(width, height) <= 200);
      const size = smartResize({ width, height }, settings);
      expect(size.width % 28).toBe(0);
      expect(size.height % 28).toBe(0);
      expect(size.width * size.height).toBeGreaterThanOrEqual(settings.minPixels);
      if (Math.max(width, height) / Math.min(width, height) < 50) {
        expect(size.width * size.height).toBeLessThanOrEqual(settings.maxPixels);
      }
    }),
  );
});

test('patches: merge blocks first, then channel, time, row, column', () => {
  const small = { ...settings, patchSize: 1, rescaleFactor: 1 };
  // 4 x 2 pixels; red counts up, green is 100, blue 200.
  const data = Uint8Array.from({ length: 24 }, (_, i) => [Math.floor(i / 3), 100, 200][i % 3]!);
  const out = new Float32Array(8 * 6);
  expect(writePatches({ data, width: 4, height: 2 }, small, out, 0)).toBe(48);
  const rows = Array.from({ length: 8 }, (_, i) => Array.from(out.subarray(i * 6, i * 6 + 6)));
  expect(rows[0]).toEqual([0, 0, 100, 100, 200, 200]);
  expect(rows.map(([red]) => red)).toEqual([0, 1, 4, 5, 2, 3, 6, 7]);
});

test('resizing keeps a flat colour, and leaves the right size alone', () => {
  const flat = { data: new Uint8Array(9 * 7 * 3).fill(77), width: 9, height: 7 };
  const { data, width, height } = resizePixels(flat, { width: 28, height: 56 });
  expect([width, height, data.length]).toEqual([28, 56, 28 * 56 * 3]);
  expect(data.every((value) => value === 77)).toBe(true);
  expect(resizePixels(flat, { width: 9, height: 7 })).toBe(flat);
});

const sizes = { shortest_edge: 6272, longest_edge: 50_176 };

test.each<[string, object, string]>([
  [
    'preprocessor_config.json',
    { min_pixels: 9999, max_pixels: 6272 },
    'minPixels (9999) is more than maxPixels (6272)',
  ],
  ['preprocessor_config.json', { size: { shortest_edge: 9999, longest_edge: 6272 } }, 'is more than maxPixels'],
  ['processor_config.json', { image_processor: { size: { ...sizes, longest_edge: 1 } } }, 'is more than maxPixels'],
  ['preprocessor_config.json', { min_pixels: -1 }, 'min_pixels'],
  ['preprocessor_config.json', { max_pixels: '12845056' }, 'max_pixels'],
  ['preprocessor_config.json', { max_pixels: 0 }, 'max_pixels'],
  ['preprocessor_config.json', { max_pixels: 1.5 }, 'max_pixels'],
  ['preprocessor_config.json', { size: { ...sizes, shortest_edge: null, longest_edge: [1] } }, 'longest_edge'],
])('limits that cannot be are refused: %s %j', (name, content, message) => {
  const directory = mkdtempSync(path.join(tmpdir(), 'visurf-limits-'));
  writeFileSync(path.join(directory, name), JSON.stringify(content));
  expect(() => loadImageSettings(directory, clipProcessor)).toThrow(UserError);
  expect(() => loadImageSettings(directory, clipProcessor)).toThrow(message);
  expect(() => loadImageSettings(directory, clipProcessor)).toThrow(directory);
});

test('a limit that is chosen for images holds for videos, too, whatever their least area', () => {
  const directory = mkdtempSync(path.join(tmpdir(), 'visurf-limits-'));
  const content = { image_processor: { size: sizes }, video_processor: {} };
  writeFileSync(path.join(directory, 'processor_config.json'), JSON.stringify(content));
  expect(loadVideoSettings(directory, clipProcessor, { maxPixels: 50_176 })).toMatchObject({
    minPixels: 50_176,
    maxPixels: 50_176,
  });
  expect(loadVideoSettings(directory, clipProcessor)).toMatchObject({ minPixels: 100_352, maxPixels: 602_112 });
});
