import { readFileSync } from 'node:fs';
import { join } from 'node:path';

import fc from 'fast-check';
import { describe, expect, test } from 'vitest';

import { UserError } from '../../errors.ts';
import type { AreaLimits, ImageProcessor } from '../images.ts';
import { fixtures } from '../../testing/oracle.ts';
import { hasOperator, resizeByHand, resizeLanczos } from './lanczos.ts';
import { tileProcessor } from './processor.ts';
import { buckets } from './tower.ts';

const open = (image: object, limits: AreaLimits = {}, processor: object = {}, patch_size = 2): ImageProcessor => {
  const vision_config = { hidden_size: 8, num_attention_heads: 2, image_size: 32 * patch_size, patch_size };
  return tileProcessor.open({ image, processor, config: { vision_config, scale_factor: 2 } }, limits);
};

const settings = (longest: number, tile: number): object => ({
  size: { longest_edge: longest },
  max_image_size: { longest_edge: tile },
});

type Row = [number, number, number, number, number, number, number, number];
const sizes = JSON.parse(readFileSync(join(fixtures, 'smolvlm-sizes.json'), 'utf8')) as Row[];

test('images are cut as the reference cuts them', () => {
  expect(sizes.length).toBeGreaterThan(500);
  for (const [width, height, longest, tile, w, h, rows, columns] of sizes) {
    const { size, grid, tokens, text } = open(settings(longest, tile), {}, {}, tile / 2).shown({ width, height });
    const tiles = rows * columns + 1;
    expect({ size, grid, tokens }, `${width} x ${height}`).toEqual({
      size: { width: w, height: h },
      grid: [tiles, 2, 2],
      tokens: tiles,
    });
    expect(text!.match(/<image>/g)).toHaveLength(tokens);
    expect(text!.match(/<row_\d+_col_\d+>/g) ?? []).toHaveLength(rows * columns);
  }
});

test('sizes that cut every image into thousands of tiles are a mistake', () => {
  expect(() => open(settings(1e9, 8))).toThrow('images of 1000000000 pixels are cut into tiles of 8: over 32');
  expect(() => open({ max_image_size: { longest_edge: 8 } })).toThrow(UserError);
  expect(() => open(settings(16, 8), { maxPixels: 1e12 })).toThrow(UserError);
  expect(open({ ...settings(1e9, 8), do_image_splitting: false }).shown({ width: 20, height: 11 }).grid[0]).toBe(1);
});

test('what stands in place of an image: rows of tiles, a line break behind each, then the whole', () => {
  const pads = '<image>'.repeat(4);
  const [around, whole] = ['<fake_token_around_image>', `<global-img>${pads}`];
  const tile = (row: number, column: number): string => `${around}<row_${row}_col_${column}>${pads}`;
  expect(open(settings(16, 8)).shown({ width: 20, height: 14 }).text).toBe(
    `${tile(1, 1)}${tile(1, 2)}\n${tile(2, 1)}${tile(2, 2)}\n\n${around}${whole}${around}`,
  );
  expect(open(settings(8, 8)).shown({ width: 20, height: 11 }).text).toBe(`${around}${whole}${around}`);
  const unsplit = open({ ...settings(16, 8), do_image_splitting: false });
  expect(unsplit.shown({ width: 20, height: 11 })).toMatchObject({ grid: [1, 4, 4], size: { width: 8, height: 8 } });
});

test('values: channel by channel, tile by tile, the whole picture last', () => {
  const processor = open({ ...settings(16, 8), image_mean: 0, image_std: 1 });
  // Four flat quarters of one colour each; red tells which.
  const data = new Uint8Array(16 * 16 * 3);
  for (let i = 0; i < 256; i++) {
    const quarter = 2 * Number(i >= 128) + Number(i % 16 >= 8);
    data.set([10 * (quarter + 1), 100, 200], 3 * i);
  }
  const prepared = processor.prepare({ data, width: 16, height: 16 }, { width: 16, height: 16 });
  const { grid } = processor.shown({ width: 16, height: 16 });
  expect(processor.shape([grid, grid])).toEqual([10, 3, 8, 8]);
  const out = new Float32Array(1 + 5 * 3 * 64);
  expect(processor.write(prepared, out, 1)).toBe(out.length);
  const planes = Array.from({ length: 15 }, (_, i) =>
    [...out.subarray(1 + 64 * i, 1 + 64 * (i + 1))].map((x) => Math.round(255 * x)),
  );
  const flat = (level: number): number[] => Array<number>(64).fill(level);
  for (let tile = 0; tile < 4; tile++) {
    expect(planes.slice(3 * tile, 3 * tile + 3)).toEqual([flat(10 * (tile + 1)), flat(100), flat(200)]);
  }
  expect([0, 7, 56, 63].map((at) => planes[12]![at])).toEqual([10, 20, 30, 40]);
});

describe('limits of area', () => {
  const shown = (limits: AreaLimits) => open(settings(64, 8), limits).shown({ width: 30, height: 30 }).size.width;
  test('maxPixels: as many tiles along a side as fit', () => {
    expect(shown({})).toBe(64);
    expect(shown({ maxPixels: 32 * 32 })).toBe(32);
    expect(shown({ maxPixels: 39 * 39 })).toBe(32);
    expect(tileProcessor.limited({ ...settings(64, 8), do_pad: true }, { maxPixels: 1000 })).toEqual({
      ...settings(24, 8),
      do_pad: true,
    });
  });
  test('what cannot be met is refused', () => {
    expect(() => shown({ maxPixels: 63 })).toThrow('less than one tile of 8 x 8 pixels');
    expect(() => shown({ minPixels: 63 })).toThrow(UserError);
  });
});

test.each([
  [{ resample: 3 }, {}, 'resample'],
  [{ do_resize: false }, {}, 'do_resize'],
  [{ size: { height: 8, width: 8 } }, {}, 'longest_edge'],
  [settings(16, 6), {}, 'do not join by 2'],
  [settings(16, 8), { image_seq_len: 5 }, 'image_seq_len is 5, but the tower makes 4 tokens of a tile'],
])('%j, %j: refused', (image, processor, message) => {
  expect(() => open(image, {}, processor)).toThrow(message);
});

// Expected: position ids of transformers' SmolVLMVisionEmbeddings (torch.bucketize in float32).
test.each([
  [32, 32, Array.from({ length: 32 }, (_, i) => i)],
  [6, 7, [0, 1, 2, 3, 4, 5]],
  [10, 12, [0, 1, 2, 3, 4, 6, 7, 8, 9, 10]],
  [3, 8, [0, 2, 5]],
  [1, 5, [0]],
])('%i patches on a table of %i', (patches, side, expected) => expect(buckets(patches, side)).toEqual(expected));

test("Lanczos by hand is libtorch's, bit for bit", () => {
  const side = fc.integer({ min: 1, max: 60 });
  fc.assert(
    fc.property(side, side, side, side, fc.integer(), (width, height, w, h, seed) => {
      const data = Uint8Array.from({ length: width * height * 3 }, (_, i) => Math.imul(i + 1, seed | 1) >>> 24);
      const [mine, theirs] = [resizeByHand, resizeLanczos].map((f) =>
        f({ data, width, height }, { width: w, height: h }),
      );
      expect(Buffer.from(mine!.data).equals(Buffer.from(theirs!.data))).toBe(true);
    }),
    { numRuns: 300 },
  );
  expect(hasOperator()).toBe(true);
});
