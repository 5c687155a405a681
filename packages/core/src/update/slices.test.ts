import { arange, scope, zeros } from '@visurf/torch';
import { expect, test } from 'vitest';
import { fill, read, sliceLength, sliceOf } from './slices.ts';

test.each([
  [10, 4, 3],
  [8, 4, 2],
  [3, 4, 1],
  [4095, 2, 2048],
  // From 4,096 elements on whole blocks of 256.
  [4096, 4, 1024],
  [4097, 4, 1280],
  [1_000_000, 3, 333_568],
])('%i elements over %i processes: %i each', (numel, size, length) => {
  expect(sliceLength(numel, size)).toBe(length);
  const slices = Array.from({ length: size }, (_, rank) => sliceOf(numel, length, rank));
  expect(slices.reduce((sum, { own }) => sum + own, 0)).toBe(numel);
  slices.reduce((end, { from, own }) => {
    expect(from).toBe(end);
    return from + own;
  }, 0);
});

test('slices of several tensors in one matrix', () => {
  scope(() => {
    const matrix = zeros([3, 5], { dtype: 'float64' });
    // 7 = 3 + 3 + 1 elements, and 2 = 1 + 1 + 0, and a column that nothing fills.
    const [first, second] = [arange(1, 8, 1, { dtype: 'float64' }), arange(8, 10, 1, { dtype: 'float64' })];
    const columns = [
      { at: 0, length: 3 },
      { at: 3, length: 1 },
    ] as const;
    fill(matrix, columns[0], first);
    fill(matrix, columns[1], second);
    expect(matrix.toArray()).toEqual([1, 2, 3, 8, 0, 4, 5, 6, 9, 0, 7, 0, 0, 0, 0]);
    const [again, other] = [zeros([7, 1], { dtype: 'float64' }), zeros([2], { dtype: 'float64' })];
    read(matrix, columns[0], again);
    read(matrix, columns[1], other);
    expect([again.toArray(), other.toArray()]).toEqual([first.toArray(), second.toArray()]);
  });
});
