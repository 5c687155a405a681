/** Sizes and times of Qwen3-VL's processors, against the reference's (oracle/sizes.py). */
import { readFileSync } from 'node:fs';
import path from 'node:path';

import { expect, test } from 'vitest';

import { halvesProcessor } from '../families/processor.ts';
import { fixtures } from '../testing/oracle.ts';
import { smartResize, videoSize } from './resize.ts';
import { tenths, timesOf, withTimes } from './timed.ts';

type Limits = Record<'min_pixels' | 'max_pixels', number>;
const { limits, images, videos, times } = JSON.parse(readFileSync(path.join(fixtures, 'sizes.json'), 'utf8')) as {
  limits: Record<'image' | 'video', Limits>;
  images: [number, number, number, number][];
  videos: [number, number, number, number, number][];
  times: [number, number, string][];
};
const { patchSize, mergeSize, temporalPatchSize, image, video } = halvesProcessor;
const sides = { patchSize, mergeSize, temporalPatchSize };

test('limits are those of published files', () => {
  for (const [kind, area] of Object.entries({ image, video })) {
    const { min_pixels, max_pixels } = limits[kind as 'image' | 'video'];
    expect(area).toEqual({ minPixels: min_pixels, maxPixels: max_pixels });
  }
});

test('sizes of images', () => {
  expect(images.length).toBeGreaterThan(200);
  for (const [width, height, ...expected] of images) {
    const size = smartResize({ width, height }, { ...sides, ...image });
    expect([size.width, size.height], `${width} x ${height}`).toEqual(expected);
  }
});

test('sizes of the frames of videos', () => {
  expect(videos.length).toBeGreaterThan(200);
  for (const [frames, width, height, ...expected] of videos) {
    const size = videoSize({ width, height }, frames, { ...sides, ...video });
    expect([size.width, size.height], `${frames} frames of ${width} x ${height}`).toEqual(expected);
  }
});

test('seconds of temporal patches', () => {
  for (const [frames, fps, expected] of times) {
    expect(timesOf(frames, fps, 2).map(tenths).join(' '), `${frames} frames, ${fps} per second`).toBe(expected);
  }
});

const tokens = { start: '(', video: 'v', end: ')' };
const control = (text: string) => ({ text, control: true });

test('every temporal patch stands behind its time; what a message says is left alone', () => {
  const pieces = [control('a(v)'), { text: 'v', control: false }, control('(v)b')];
  expect(withTimes(pieces, [[0.25, 1.25], [3]], tokens)).toEqual([
    control('a(<0.2 seconds>(v)<1.2 seconds>(v))'),
    { text: 'v', control: false },
    control('(<3.0 seconds>(v))b'),
  ]);
});

test.each([[[]], [[[1], [2]]]])('a placeholder that has no video, or the other way round: %j', (given) => {
  expect(() => withTimes([control('(v)')], given, tokens)).toThrow(`1 video placeholders for ${given.length} videos`);
});
