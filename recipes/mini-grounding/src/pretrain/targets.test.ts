import { expect, test } from 'vitest';

import type { Scene } from '../scenes.ts';
import { overlap, PATCH_CELLS, patchTargets, scaled, TOKEN_CELLS, tokensOf, tokenTargets } from './targets.ts';

const scene: Scene = [
  { color: 'green', shape: 'triangle', box: [28, 0, 56, 28], center: [42, 14] },
  { color: 'cyan', shape: 'circle', box: [70, 60, 100, 90], center: [85, 75] },
];

test('patches come in merge units of 2 x 2, row by row', () => {
  expect(PATCH_CELLS).toHaveLength(64);
  expect(PATCH_CELLS.slice(0, 5).map(({ x, y }) => [x, y])).toEqual([
    [0, 0],
    [14, 0],
    [0, 14],
    [14, 14],
    [28, 0],
  ]);
  expect(TOKEN_CELLS.map(({ x, y }) => [x, y])[5]).toEqual([28, 28]);
});

test('overlap is the area that a box and a cell share', () => {
  expect(overlap([10, 10, 20, 20], { x: 0, y: 0, side: 14 })).toBe(16);
  expect(overlap([10, 10, 20, 20], { x: 28, y: 0, side: 14 })).toBe(0);
});

test('a patch shows the object that covers it', () => {
  const { colors, shapes, boxes, places } = patchTargets(scene);
  // Token 1 is covered by the triangle: its four patches are patches 4 to 7.
  expect(colors.slice(3, 9)).toEqual([-1, 1, 1, 1, 1, -1]);
  expect(shapes.slice(4, 8)).toEqual([2, 2, 2, 2]);
  // Patch 4 has its centre at (35, 7).
  expect(boxes.slice(32, 36)).toEqual([-7 / 20, -7 / 20, 21 / 20, 21 / 20]);
  expect(boxes.slice(36, 40)).toEqual([28, 0, 56, 28].map(scaled));
  expect(places.slice(8, 10)).toEqual([35, 7].map(scaled));
  expect([scaled(0), scaled(56), scaled(112)]).toEqual([-1, 0, 1]);
});

test('an image token speaks the words of what it shows', () => {
  const { words, boxes, covered } = tokenTargets(scene);
  expect(covered.flatMap((is, i) => (is ? [i] : []))).toEqual([1, 10, 11, 14, 15]);
  expect(words.slice(10, 20)).toEqual([0, 1, 0, 0, 0, 0, 0, 0, 1, 0]);
  expect(boxes.slice(4, 8)).toEqual([28, 0, 56, 28].map(scaled));
  expect(tokensOf([28, 0, 56, 28])).toEqual([0, 1, ...Array<number>(14).fill(0)]);
});
