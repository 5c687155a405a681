import { expect, test } from 'vitest';

import { arange, cat, full, functional, Generator, ones, randn, tensor, zeros, type Tensor } from './index.ts';
import { gradcheck } from './testing.ts';

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

test('our own kernels: values of the chains they replace, gradients by finite differences, strided input', () => {
  const { rotate, swiglu } = functional;
  const options = { dtype: 'float64', generator: new Generator(3) } as const;
  const angles = randn([2, 5, 1, 6], options);
  const half = angles.narrow(-1, 0, 3);
  const turn = { cos: cat([half.cos(), half.cos()], -1), sin: cat([half.sin().neg(), half.sin()], -1) };
  const x = randn([2, 5, 4, 6], options);
  close(rotate(x, turn.cos, turn.sin).toArray(), x.mul(turn.cos).addcmul(x.roll(3, -1), turn.sin).toArray());
  // Heads cut out of a wider projection: neither dimension is contiguous.
  const wide = randn([2, 5, 7, 6], options).narrow(2, 2, 4);
  close(rotate(wide, turn.cos, turn.sin).toArray(), rotate(wide.contiguous(), turn.cos, turn.sin).toArray());
  const short = turn.cos.narrow(1, 0, 4).contiguous();
  expect(() => rotate(x, short, short)).toThrow('one row per token');

  const [gate, up, weight] = [randn([3, 8], options), randn([3, 8], options), randn([8], options)];
  close(swiglu(gate, up).toArray(), gate.silu().mul(up).toArray());
  const chain = gate.mul(gate.square().mean(-1, true).add(1e-6).rsqrt()).mul(weight);
  close(rmsNorm(gate, weight, 1e-6).toArray(), chain.toArray());
  for (const each of [gate, up, weight, x]) each.requiresGrad_();
  gradcheck((a, b) => swiglu(a, b), [gate, up]);
  gradcheck((a, b) => rmsNorm(a, b, 1e-6), [gate, weight]);
  gradcheck((a) => rotate(a, turn.cos, turn.sin), [x]);
});

test('the exponential of the float32 kernel is exact to a few units in the last place, and keeps NaN', () => {
  const gate = tensor([-100, -88, -20, -1, -1e-8, 0, 1e-3, 5, 60, 100]);
  const exact = gate.to('float64').silu().toArray();
  functional
    .swiglu(gate, ones([10]))
    .toArray()
    .forEach((value, i) => expect(Math.abs(value - exact[i]!)).toBeLessThanOrEqual(1e-6 * Math.abs(exact[i]!) + 1e-36));
  expect(functional.swiglu(tensor([NaN]), ones([1])).toArray()).toEqual([NaN]);
});

test('decodeAttention is one softmax over the prefix, less its padding, and the own tokens', () => {
  const options = { dtype: 'float64', generator: new Generator(5) } as const;
  const [batch, responses, kvHeads, groups, length, prefix, size] = [2, 3, 2, 2, 4, 5, 6];
  const q = randn([batch, responses, kvHeads * groups, size], options);
  const shared = {
    keys: randn([batch, kvHeads, prefix, size], options),
    values: randn([batch, kvHeads, prefix, size], options),
  };
  const shape = [batch, kvHeads, responses, length + 3, size];
  const own = { keys: randn(shape, options), values: randn(shape, options) };
  const padding = tensor([0, 0, 0, 0, 0, 0, 0, 0, -Infinity, -Infinity], {
    shape: [batch, 1, 1, 1, 1, prefix],
    dtype: 'float64',
  });
  const expected: number[] = [];
  for (let b = 0; b < batch; b++) {
    for (let k = 0; k < responses; k++) {
      for (let h = 0; h < kvHeads * groups; h++) {
        const head = Math.floor(h / groups);
        const real = prefix - 2 * b;
        const join = (x: 'keys' | 'values'): Tensor =>
          cat([
            shared[x].select(0, b).select(0, head).narrow(0, 0, real),
            own[x].select(0, b).select(0, head).select(0, k).narrow(0, 0, length),
          ]);
        const scores = join('keys').matmul(q.select(0, b).select(0, k).select(0, h)).div(Math.sqrt(size));
        expected.push(...scores.softmax(0).matmul(join('values')).toArray());
      }
    }
  }
  close(functional.decodeAttention(q, shared, own, length, padding).toArray(), expected);
});
