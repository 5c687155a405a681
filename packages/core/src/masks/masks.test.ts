import fc from 'fast-check';
import { expect, test } from 'vitest';
import {
  countsOf,
  decodeCounts,
  decodeRle,
  emptyMask,
  encodeCounts,
  encodeRle,
  maskBox,
  overlapOf,
  type Mask,
} from './masks.ts';
import { addCocoPolygon } from './polygons.ts';

const rows = (...texts: string[]): Mask => ({
  ...{ width: texts[0]!.length, height: texts.length },
  data: Uint8Array.from(texts.join(''), Number),
});

// Texts of pycocotools.
test.each([
  [rows('011', '010'), [2, 3, 1], '231'],
  [rows('11', '11'), [0, 4], '04'],
  [rows('00', '00'), [4], '4'],
  [rows('1000', '0100', '0010', '0001'), [0, 1, 4, 1, 4, 1, 4, 1], '01400000'],
])('runs of %j', (mask, counts, text) => {
  expect(countsOf(mask)).toEqual(counts);
  expect(encodeRle(mask).counts).toBe(text);
  expect(decodeRle({ size: [mask.height, mask.width], counts })).toEqual(mask);
  expect(decodeRle({ size: [mask.height, mask.width], counts: text })).toEqual(mask);
});

test('a longer one', () => {
  expect(encodeCounts([5, 40, 3, 7, 100, 5])).toBe('5X13oNQ3N');
  const mask = decodeRle({ size: [160, 1], counts: '5X13oNQ3N' });
  expect(mask.data.filter((value) => value === 1)).toHaveLength(52);
});

test('counts are written and read back', () => {
  fc.assert(
    fc.property(fc.array(fc.nat(1e9), { maxLength: 30 }), (counts) => {
      expect(decodeCounts(encodeCounts(counts))).toEqual(counts);
    }),
  );
});

test('damaged runs are refused', () => {
  for (const counts of ['23', '!', 'o', [4, -1, 3], [7], 'ooooooooo1']) {
    expect(() => decodeRle({ size: [2, 3], counts })).toThrow(/counts of the mask/);
  }
  expect(() => decodeRle({ size: [1e6, 1e6], counts: [1e12] })).toThrow('cannot be read');
  expect(() => overlapOf(emptyMask(2, 3), emptyMask(3, 2))).toThrow('the mask is 2 x 3 pixels, the picture 3 x 2');
});

test('boxes of masks', () => {
  expect(maskBox(rows('00000', '00111', '00111', '00111'))).toEqual([2, 1, 4, 3]);
  expect(maskBox(rows('111111', '111111', '111111', '111111'))).toEqual([0, 0, 5, 3]);
  expect(maskBox(emptyMask(2, 2))).toBeUndefined();
});

test('a square of COCO', () => {
  const mask = emptyMask(6, 6);
  addCocoPolygon(mask, [1, 1, 4, 1, 4, 4, 1, 4]);
  expect(encodeRle(mask).counts).toBe('733000;');
  expect(maskBox(mask)).toEqual([1, 1, 3, 3]);
});
