import { expect, test } from 'vitest';
import { promptPositions } from './positions.ts';

const I = 9;
const options = { imageId: I, mergeSize: 2 };

test('text counts in all three axes', () => {
  expect(promptPositions([1, 2, 3], [], options)).toEqual([
    [0, 1, 2],
    [0, 1, 2],
    [0, 1, 2],
  ]);
});

test('an image spans rows and columns, and text goes on behind its longer side', () => {
  expect(promptPositions([1, I, I, I, I, I, I, 2], [[1, 4, 6]], options)).toEqual([
    [0, 1, 1, 1, 1, 1, 1, 4],
    [0, 1, 1, 1, 2, 2, 2, 4],
    [0, 1, 2, 3, 1, 2, 3, 4],
  ]);
});

test('a video counts time in its own steps, and text goes on behind its longer side', () => {
  const V = 8;
  const videos = { id: V, gridThw: [[3, 2, 4]] as const, intervals: [2.5] };
  expect(promptPositions([1, V, V, V, V, V, V, 2], [], { ...options, videos })).toEqual([
    [0, 1, 1, 3, 3, 6, 6, 3],
    [0, 1, 1, 1, 1, 1, 1, 3],
    [0, 1, 2, 1, 2, 1, 2, 3],
  ]);
});

test('ids and grids that do not match are a bug', () => {
  expect(() => promptPositions([I], [], options)).toThrow('bug in visurf');
  expect(() => promptPositions([I], [[1, 4, 4]], options)).toThrow('bug in visurf');
});
