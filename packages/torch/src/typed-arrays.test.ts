import { describe, expect, test } from 'vitest';

import { empty, tensor, type DType, type TypedArray } from './index.ts';

test.each<[DType, TypedArray, number[]]>([
  ['float32', Float32Array.of(0.1, -Infinity, NaN, 3e38), [Math.fround(0.1), -Infinity, NaN, Math.fround(3e38)]],
  ['float64', Float64Array.of(0.1, 5e-324, -0), [0.1, 5e-324, -0]],
  ['int64', BigInt64Array.of(-1n, 2n ** 53n - 1n), [-1, 2 ** 53 - 1]],
  ['int32', Int32Array.of(-(2 ** 31), 2 ** 31 - 1), [-(2 ** 31), 2 ** 31 - 1]],
  ['int16', Int16Array.of(-32768, 7), [-32768, 7]],
  ['int8', Int8Array.of(-128, 127), [-128, 127]],
  ['uint8', Uint8Array.of(0, 255), [0, 255]],
  ['bool', Uint8Array.of(0, 1), [0, 1]],
  // 1 is 0x3f80 in bfloat16 (the upper half of float32) and 0x3c00 in float16; 0xc000 is -2 in both.
  ['bfloat16', Uint16Array.of(0x3f80, 0xc000, 0x7f80), [1, -2, Infinity]],
  ['float16', Uint16Array.of(0x3c00, 0xc000, 0x7bff), [1, -2, 65504]],
])('%s goes in and comes out bit for bit', (dtype, array, numbers) => {
  const x = tensor(array, { dtype });
  expect(x.dtype).toBe(dtype);
  expect(x.toTypedArray()).toEqual(array);
  expect(x.toArray()).toEqual(numbers);
  expect(x.toFloat32Array()).toEqual(Float32Array.from(numbers));
});

test('a typed array is copied both ways', () => {
  const array = Float32Array.of(1, 2);
  const x = tensor(array);
  array[0] = 9;
  x.toTypedArray()[1] = 9;
  expect(x.toArray()).toEqual([1, 2]);
});

test('a window into a larger buffer is read from where it begins', () => {
  const buffer = Float32Array.of(0, 1, 2, 3).buffer;
  expect(tensor(new Float32Array(buffer, 4, 2)).toArray()).toEqual([1, 2]);
  expect(tensor(Buffer.from([5, 6, 7]).subarray(1)).toArray()).toEqual([6, 7]);
});

test('views come out in row-major order of what they show', () => {
  const x = tensor([
    [1, 2, 3],
    [4, 5, 6],
  ]);
  expect(x.t().toTypedArray()).toEqual(Float32Array.of(1, 4, 2, 5, 3, 6));
  expect(x.slice(1, 0, 3, 2).toArray()).toEqual([1, 3, 4, 6]);
  expect(x.select(0, 0).expand(2, 3).toArray()).toEqual([1, 2, 3, 1, 2, 3]);
});

test('shapes, nested arrays, scalars, booleans and nothing', () => {
  expect(tensor(new Float32Array(6), { shape: [2, 3] }).shape).toEqual([2, 3]);
  expect(tensor([[[1], [2]]]).shape).toEqual([1, 2, 1]);
  expect(tensor(3).shape).toEqual([]);
  expect(tensor([true, false]).dtype).toBe('bool');
  expect(tensor([]).shape).toEqual([0]);
  expect(tensor([[], []]).shape).toEqual([2, 0]);
  expect(tensor([1, 2, 3, 4], { shape: [2, 2], dtype: 'int64' }).toTypedArray()).toEqual(
    BigInt64Array.of(1n, 2n, 3n, 4n),
  );
  expect(empty([0, 3]).toTypedArray()).toEqual(new Float32Array());
});

test('bytes other than 0 and 1 are true, and are stored as 1', () => {
  expect(tensor(Uint8Array.of(0, 1, 2, 255), { dtype: 'bool' }).toTypedArray()).toEqual(Uint8Array.of(0, 1, 1, 1));
});

describe('what does not fit is refused', () => {
  test.each<[string, () => unknown, string]>([
    ['too few elements', () => tensor(new Float32Array(5), { shape: [2, 3] }), 'needs 24 bytes, the data has 20'],
    ['another dtype', () => tensor(new Float32Array(2), { dtype: 'int32' }), 'a Float32Array cannot hold int32'],
    ['16 bits without a dtype', () => tensor(new Uint16Array(2)), 'needs a dtype: float16 or bfloat16'],
    ['ragged rows', () => tensor([[1, 2], [3, 4, 5], [6]]), 'nested arrays of different shapes, [2] and [3]'],
    ['mixed depths', () => tensor([1, [2]]), 'nested arrays of different shapes, [] and [1]'],
    ['a negative size', () => tensor([1], { shape: [-1] }), 'negative'],
  ])('%s', (_, make, message) => {
    expect(make).toThrow(message);
  });
});
