import { inspect } from 'node:util';
import { expect, test } from 'vitest';

import { arange, full, tensor } from './index.ts';

test('a person reads values, dtype and shape', () => {
  expect(String(tensor([[1, 2.5], [-3, 1 / 3]]))).toBe('tensor([[1, 2.5],\n        [-3, 0.33333]], float32[2, 2])'); // prettier-ignore
  expect(String(full([], 7))).toBe('tensor(7, float32[])');
  expect(String(tensor([true, false]))).toBe('tensor([true, false], bool[2])');
  expect(String(tensor([NaN, Infinity, 1e-9]))).toBe('tensor([NaN, Infinity, 1e-9], float32[3])');
  expect(String(tensor([]))).toBe('tensor([], float32[0])');
});

test('of a long dimension the ends are shown', () => {
  expect(String(arange(0, 1000))).toBe('tensor([0, 1, 2, ..., 997, 998, 999], int64[1000])');
  expect(String(arange(0, 800).view(8, 100)).split('\n')).toHaveLength(7);
});

test('int64 beyond 2^53 is shown to the last digit', () => {
  expect(String(tensor(BigInt64Array.of(2n ** 62n + 1n)))).toBe('tensor([4611686018427387905], int64[1])');
});

test('the console shows the same', () => {
  expect(inspect({ x: tensor([1]) })).toBe('{ x: tensor([1], float32[1]) }');
});

test('a large tensor is formatted without being copied out', () => {
  const before = process.memoryUsage().arrayBuffers;
  String(full([4000, 4000], 1, { dtype: 'uint8' }));
  expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(1e6);
});
