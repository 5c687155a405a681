import { expect, test } from 'vitest';

import { arange, full, functional, ones, tensor, zeros } from './index.ts';

const { dropout, embedding, layerNorm, linear, resizeBicubic, rmsNorm, scaledDotProductAttention } = functional;
const close = (got: number[], expected: number[]): void => {
  expect(got).toHaveLength(expected.length);
  got.forEach((value, i) => expect(value).toBeCloseTo(expected[i] ?? NaN, 5)); // prettier-ignore
};

test('linear, embedding, norms', () => {
  close(linear(tensor([[1, 2]]), tensor([[3, 4]]), tensor([5])).toArray(), [16]);
  close(embedding(tensor([[1, 2], [3, 4]]), arange(1, 2)).toArray(), [3, 4]); // prettier-ignore
  close(layerNorm(tensor([[1, 7]]), ones([2]), undefined, 0).toArray(), [-1, 1]);
  close(rmsNorm(tensor([[1, 7]]), ones([2]), 24).toArray(), [1 / 7, 1]);
});

test('dropout keeps a share of 1 - p and scales it, in training only', () => {
  expect(dropout(ones([4]), 0.5, false).toArray()).toEqual([1, 1, 1, 1]);
  const dropped = dropout(ones([1000]), 0.5, true).toArray();
  expect(new Set(dropped)).toEqual(new Set([0, 2]));
});

// With q = 0 every key weighs the same; with scale log 3 and q.k = 1, 0 the weights are 3/4 and 1/4.
test('attention is softmax(q k^T * scale + mask) v', () => {
  const v = tensor([4, 8]).view(1, 1, 2, 1);
  const k = tensor([1, 0]).view(1, 1, 2, 1);
  const q = ones([1, 1, 1, 1]);
  close(scaledDotProductAttention(zeros([1, 1, 1, 1]), k, v).toArray(), [6]);
  close(scaledDotProductAttention(q, k, v, { scale: Math.log(3) }).toArray(), [5]);
  close(scaledDotProductAttention(q, k, v, { mask: tensor([[[[false, true]]]]) }).toArray(), [8]);
  close(scaledDotProductAttention(q, k, v, { mask: tensor([[[[-1, Math.log(3)]]]]), scale: 1 }).toArray(), [7]);
  close(scaledDotProductAttention(zeros([1, 1, 2, 1]), k, v, { causal: true }).toArray(), [4, 6]);
});

test('query heads share key and value heads in groups', () => {
  const kv = tensor([1, 2]).view(1, 2, 1, 1);
  close(scaledDotProductAttention(zeros([1, 4, 1, 1]), kv, kv, { groupedQuery: true }).toArray(), [1, 1, 2, 2]);
});

test('bicubic resizing keeps a constant and the ends of a ramp', () => {
  const flat = full([1, 3, 8, 8], 200, { dtype: 'uint8' });
  expect(new Set(resizeBicubic(flat, 5, 11).toArray())).toEqual(new Set([200]));
  const ramp = arange(0, 8, 1, { dtype: 'float32' }).view(1, 1, 1, 8);
  expect(resizeBicubic(ramp, 1, 8).toArray()).toEqual([0, 1, 2, 3, 4, 5, 6, 7]);
});
