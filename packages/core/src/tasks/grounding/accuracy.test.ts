import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { Box, Point } from '../../types.ts';
import { accuracy, answerFormat, bestMatching } from './accuracy.ts';

const THRESHOLDS = { iouThreshold: 0.5, boxError: 10, pointError: 30 };
const SQUARE: Box = [100, 100, 200, 200];
const object = (box: Box | undefined, point?: Point) => ({ box, point });
const truth = (box: Box, point?: Point) => ({ box, point });

test('answer format', () => {
  expect(answerFormat(undefined, true)).toBe(0);
  expect(answerFormat([], true)).toBe(2);
  expect(answerFormat([object(SQUARE, [1, 1]), object(SQUARE)], true)).toBe(1.5);
  expect(answerFormat([object(SQUARE), object(undefined, [1, 1])], false)).toBe(1);
});

// [predicted box, point] against the square with its centre
test.each<[Box, Point, number]>([
  [SQUARE, [150, 150], 3],
  [[110, 110, 210, 210], [150, 150], 2], // mean error 10 is not below 10
  [[109, 110, 210, 210], [150, 150], 3], // 9.75 is
  [SQUARE, [180, 150], 2], // 30 px off
  [SQUARE, [179, 150], 3],
  [[100, 100, 150, 200], [160, 150], 0], // IoU 0.5 is no hit, error 12.5, point outside the predicted box
  [[100, 100, 151, 200], [151, 150], 2], // edges belong to the box
])('accuracy of %j %j', (box, point, expected) => {
  expect(accuracy([object(box, point)], [truth(SQUARE, [150, 150])], THRESHOLDS)).toBe(expected);
});

test('without points the rest is scaled to 3', () => {
  expect(accuracy([object(SQUARE)], [truth(SQUARE)], THRESHOLDS)).toBe(3);
  expect(accuracy([object([110, 110, 210, 210])], [truth(SQUARE)], THRESHOLDS)).toBe(1.5);
  expect(accuracy([object(undefined, [150, 150])], [truth(SQUARE)], THRESHOLDS)).toBe(0);
});

test('the thresholds are parameters', () => {
  const fine = { iouThreshold: 0.9, boxError: 2, pointError: 1 };
  expect(accuracy([object([103, 100, 203, 200])], [truth(SQUARE)], fine)).toBe(3);
  expect(accuracy([object([104, 100, 204, 200])], [truth(SQUARE)], fine)).toBe(1.5);
  expect(accuracy([object([108, 100, 208, 200])], [truth(SQUARE)], fine)).toBe(0);
});

test('empties: both the full mark, one of them 0, malformed 0', () => {
  expect(accuracy([], [], THRESHOLDS)).toBe(3);
  expect(accuracy([object(SQUARE)], [], THRESHOLDS)).toBe(0);
  expect(accuracy([], [truth(SQUARE)], THRESHOLDS)).toBe(0);
  expect(accuracy(undefined, [], THRESHOLDS)).toBe(0);
});

test('extra and missing objects cost their share', () => {
  const far: Box = [600, 600, 700, 700];
  expect(accuracy([object(far), object(SQUARE)], [truth(SQUARE)], THRESHOLDS)).toBe(1.5);
  expect(accuracy([object(SQUARE)], [truth(far), truth(SQUARE)], THRESHOLDS)).toBe(1.5);
  expect(accuracy([object(far), object(SQUARE)], [truth(SQUARE), truth(far)], THRESHOLDS)).toBe(3);
});

test('the matching is the best one, also of unequal numbers', () => {
  const best = (marks: readonly (readonly number[])[], row = 0, used: readonly number[] = []): number => {
    if (row === marks.length) return 0;
    const taken = marks[row]!.map((mark, j) => (used.includes(j) ? 0 : mark + best(marks, row + 1, [...used, j])));
    return Math.max(best(marks, row + 1, used), ...taken);
  };
  const size = fc.integer({ min: 1, max: 5 });
  const matrix = fc.tuple(size, size).chain(([rows, columns]) =>
    fc.array(fc.array(fc.constantFrom(0, 1, 1.5, 2, 3), { minLength: columns, maxLength: columns }), {
      minLength: rows,
      maxLength: rows,
    }),
  );
  fc.assert(
    fc.property(matrix, (marks) => {
      expect(bestMatching(marks, [...marks[0]!.keys()], (row, j) => row[j]!)).toBe(best(marks));
    }),
  );
});
