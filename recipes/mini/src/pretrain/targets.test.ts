import { scaled } from '@visurf/mini-grounding/kit';
import { expect, test } from 'vitest';

import type { Thing } from '../pictures/picture.ts';
import { FAMILIES } from '../vocabulary.ts';
import { patchTargets, tokensShowing, tokenTargets } from './targets.ts';

const things: Thing[] = [
  { words: [' green', ' triangle'], box: [28, 0, 56, 28] },
  { words: [' hole'], box: [70, 70, 80, 80] },
];
const { color, shape, defect } = FAMILIES;
const covers = (flags: readonly boolean[]): number[] => flags.flatMap((is, i) => (is ? [i] : []));

test('a patch knows what covers it, by family, and its box', () => {
  const { covered, classes, boxes, near, places } = patchTargets([[], things], [color, shape, defect]);
  // Token 1 is covered by the triangle: its four patches are patches 4 to 7. The hole lies in patch (70, 70).
  expect(covers(covered)).toEqual([4, 5, 6, 7, 43].map((patch) => 64 + patch));
  expect(classes.map((own) => own[64 + 4])).toEqual([1, 2, -1]);
  expect(classes.map((own) => own[64 + 43])).toEqual([-1, -1, 2]);
  expect(classes.map((own) => own[0])).toEqual([-1, -1, -1]);
  const start = 4 * (64 + 4);
  expect(boxes.slice(start, start + 4)).toEqual([28, 0, 56, 28].map(scaled));
  // Patch 4 has its centre at (35, 7).
  near.slice(start, start + 4).forEach((value, i) => {
    expect(value).toBeCloseTo([-7 / 20, -7 / 20, 21 / 20, 21 / 20][i] ?? NaN, 10);
  });
  expect(places.slice(8, 10)).toEqual([35, 7].map(scaled));
});

test('an image token names what it shows, and what has its centre there', () => {
  const words = [...color, ...shape];
  const {
    words: shown,
    centers,
    covered,
  } = tokenTargets([[...things, { words: [' red'], box: [40, 20, 70, 50] }]], words);
  const wordsOf = (flags: readonly number[], cell: number): string[] =>
    words.filter((_, i) => flags[cell * words.length + i] === 1);
  expect(covers(covered)).toEqual([1, 2, 5, 6, 10]);
  expect(wordsOf(shown, 1)).toEqual([' red', ' green', ' triangle']);
  expect(wordsOf(centers, 1)).toEqual([' green', ' triangle']);
  expect(wordsOf(centers, 5)).toEqual([' red']);
  expect(wordsOf(centers, 10)).toEqual([]);
});

test('several boxes are shown by several tokens, none by none', () => {
  expect(
    tokensShowing([
      [28, 0, 56, 28],
      [70, 70, 80, 80],
    ]).flatMap((is, i) => (is ? [i] : [])),
  ).toEqual([1, 10]);
  expect(tokensShowing([])).toEqual(Array(16).fill(0));
});
