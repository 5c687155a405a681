import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { Box } from '../../types.ts';
import { clip, coveredArea, iou, toModel, toOriginal, unionIou } from './geometry.ts';
import { inclusiveIou } from './visionreasoner.ts';
import { vlmR1Iou } from './vlmr1.ts';

const SQUARE: Box = [0, 0, 10, 10];

// [box, plain IoU, IoU with inclusive pixels, VLM-R1's] against the square
test.each<[Box, number, number, number]>([
  [[0, 0, 10, 10], 1, 1, 1],
  [[5, 5, 15, 15], 0.142857, 0.174757, 0.142857],
  [[0, 0, 10, 5], 0.5, 0.545455, 0.5],
  [[10, 0, 20, 10], 0, 0.047619, 0],
  [[9, 0, 19, 10], 0.052632, 0.1, 0],
  [[10, 10, 0, 0], 0, 0, 0],
])('IoU of %j', (box, plain, inclusive, strict) => {
  expect(iou(box, SQUARE)).toBeCloseTo(plain, 6);
  expect(inclusiveIou(box, SQUARE)).toBeCloseTo(inclusive, 6);
  expect(vlmR1Iou(box, SQUARE)).toBeCloseTo(strict, 6);
});

test('a box without area overlaps nothing, and is itself by inclusive pixels', () => {
  expect(iou([3, 3, 3, 3], [3, 3, 3, 3])).toBe(0);
  expect(inclusiveIou([3, 3, 3, 3], [3, 3, 3, 3])).toBe(1);
  expect(vlmR1Iou([3, 3, 3, 3], [3, 3, 3, 3])).toBe(0);
});

test('what lies beside the picture is cut off', () => {
  const frame = { width: 100, height: 50 };
  expect(clip([-5, 10, 120, 60], frame)).toEqual([0, 10, 100, 50]);
  expect(clip([200, 60, 300, 70], frame)).toEqual([100, 50, 100, 50]);
  expect(clip([1, 2, 3, 4], frame)).toEqual([1, 2, 3, 4]);
});

test('the union of boxes counts what overlaps once', () => {
  expect(coveredArea([])).toBe(0);
  expect(coveredArea([SQUARE, SQUARE])).toBe(100);
  expect(coveredArea([SQUARE, [5, 5, 15, 15]])).toBe(175);
  expect(coveredArea([SQUARE, [10, 10, 0, 0]])).toBe(100);
  expect(
    unionIou(
      [
        [0, 0, 10, 5],
        [0, 5, 10, 10],
      ],
      [SQUARE],
    ),
  ).toBe(1);
  expect(unionIou([[0, 0, 10, 5]], [SQUARE, [20, 0, 30, 10]])).toBe(0.25);
  expect(unionIou([], [SQUARE])).toBe(0);
  expect(unionIou([], [])).toBe(0);
});

test('union IoU equals counting unit squares', () => {
  const side = fc.integer({ min: 0, max: 12 });
  const boxes = fc.array(fc.tuple(side, side, side, side), { maxLength: 5 });
  const covers = (set: readonly Box[], x: number, y: number) =>
    set.some(([x0, y0, x1, y1]) => x >= x0 && x < x1 && y >= y0 && y < y1);
  fc.assert(
    fc.property(boxes, boxes, (a, b) => {
      let [both, any] = [0, 0];
      for (let x = 0; x < 12; x++) {
        for (let y = 0; y < 12; y++) {
          both += Number(covers(a, x, y) && covers(b, x, y));
          any += Number(covers(a, x, y) || covers(b, x, y));
        }
      }
      expect(unionIou(a, b)).toBeCloseTo(any === 0 ? 0 : both / any, 12);
    }),
  );
});

test('coordinates go to the model rounded half up and come back unrounded', () => {
  const frame = { width: 1280, height: 720, modelWidth: 840, modelHeight: 840 };
  expect(toOriginal([10, 100], frame).map(Math.round)).toEqual([15, 86]);
  expect(toOriginal([200, 210], frame).map((value) => Math.floor(value + 0.5))).toEqual([305, 180]);
  expect([...toModel([15, 86], frame), ...toModel([305, 180], frame)]).toEqual([10, 100, 200, 210]);
  expect(toModel([2000, -3], frame)).toEqual([840, 0]);
});
