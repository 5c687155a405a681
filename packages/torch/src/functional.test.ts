import { describe, expect, test } from 'vitest';

import { arange, cat, full, functional, Generator, ones, rand, randn, tensor, zeros, type Tensor } from './index.ts';
import { gradcheck } from './testing.ts';

const { countedDropout, dropout, embedding, layerNorm, linear, resizeBicubic, rmsNorm, scaledDotProductAttention } =
  functional;
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

describe('dropout whose draws are counted', () => {
  const [rows, width] = [400, 1000];
  const numbers = new Generator(3);
  const keysOf = (): Tensor =>
    rand([rows, 4], { generator: numbers, dtype: 'float64' })
      .mul(2 ** 16)
      .to('int64')
      .mul(tensor([1, 2 ** 16, 2 ** 32, 2 ** 48], { dtype: 'int64' }))
      .sum(-1);
  const keys = keysOf();
  /** 1 where an element is kept. */
  const kept = (gamma: number, below: number, own = keys): Tensor =>
    countedDropout(ones([rows, width], { dtype: 'float64' }), { keys: own, gamma }, below);
  const gammas = [0x1b873593a5f3c1, 0x04f1bbcdcbfa53, 0x10000000000001, 1];

  test.each([1, 6554, 32768, 60000, 65535])('a share of %i / 65536 is dropped, of rows and of columns', (below) => {
    const p = below / 65536;
    const far = (of: number): number => 5 * Math.sqrt((p * (1 - p)) / of) + 1 / of;
    for (const gamma of gammas) {
      const dropped = kept(gamma, below).neg().add(1);
      const apart = (x: Tensor): number => x.sub(p).abs().max().item();
      expect(apart(dropped.mean())).toBeLessThan(far(rows * width));
      // Of rare ones a row or a column has none, or by chance some.
      if (below === 1 || below === 65535) continue;
      expect(apart(dropped.mean(0))).toBeLessThan(far(rows));
      expect(apart(dropped.mean(1))).toBeLessThan(far(width));
    }
  });

  test('draws of neighbours, of other keys and of other gammas say nothing about each other', () => {
    const masks = gammas.map((gamma) => kept(gamma, 32768).sub(0.5).mul(2));
    // Correlations of n signs have a deviation of 1 / sqrt(n).
    const together = (a: Tensor, b: Tensor): number => Math.abs(a.mul(b).mean().item()) * Math.sqrt(a.numel);
    for (const [i, mask] of masks.entries()) {
      for (const step of [1, 2, 3, 4, 8, 128]) {
        const [from, until] = [mask.narrow(1, 0, width - step), mask.narrow(1, step, width - step)];
        expect(together(from, until), `columns ${step} apart`).toBeLessThan(5);
      }
      expect(together(mask.narrow(0, 0, rows - 1), mask.narrow(0, 1, rows - 1))).toBeLessThan(5);
      expect(together(mask, kept(gammas[i]!, 32768, keysOf()).sub(0.5).mul(2))).toBeLessThan(5);
      for (const other of masks.slice(i + 1)) expect(together(mask, other)).toBeLessThan(5);
      // Four rows and columns at a time: what every two of them leave independent.
      const rest = (x: Tensor): Tensor => x.narrow(0, 0, rows - 1).narrow(1, 0, width - 1);
      const square = [mask, mask.narrow(0, 1, rows - 1), mask.narrow(1, 1, width - 1)].map(rest);
      expect(
        together(square[0]!.mul(square[1]!), square[2]!.mul(mask.narrow(0, 1, rows - 1).narrow(1, 1, width - 1))),
      ).toBeLessThan(5);
    }
  });

  test('one key for each row', () => {
    expect(() => countedDropout(ones([2, 3]), { keys: keys.narrow(0, 0, 3), gamma: 1 }, 9)).toThrow('one per row');
    expect(() => countedDropout(ones([2, 3]), { keys: ones([2]), gamma: 1 }, 9)).toThrow('int64');
  });
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
  const joint = cat([gate, up], -1);
  close(swiglu(joint).toArray(), gate.silu().mul(up).toArray());
  const chain = gate.mul(gate.square().mean(-1, true).add(1e-6).rsqrt()).mul(weight);
  close(rmsNorm(gate, weight, 1e-6).toArray(), chain.toArray());
  for (const each of [gate, up, joint, weight, x]) each.requiresGrad_();
  gradcheck((a, b) => swiglu(a, b), [gate, up]);
  gradcheck((a) => swiglu(a), [joint]);
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

/** y = x cos + roll(x, size / 2) sin, as libtorch's operators have it. */
const turned = (x: Tensor, cos: Tensor, sin: Tensor): Tensor => {
  const half = x.size(-1) / 2;
  const rolled = cat([x.narrow(-1, half, half), x.narrow(-1, 0, half)], -1);
  return x.mul(cos).add(rolled.mul(sin));
};

test.each([
  { size: 6, prefix: 5, length: 3, capacity: 5 },
  { size: 32, prefix: 37, length: 19, capacity: 24 },
  { size: 16, prefix: 16, length: 0, capacity: 16 },
])('decodeAttention rotates, appends, and is one softmax over prefix and own tokens: $size, $prefix, $length', (at) => {
  const options = { dtype: 'float64', generator: new Generator(5) } as const;
  const [batch, responses, kvHeads, groups] = [2, 5, 2, 3];
  const { size, prefix, length, capacity } = at;
  const heads = kvHeads * groups;
  // Parts of a wider product, as projections give them.
  const joint = randn([batch, responses, heads + 2 * kvHeads, size], options);
  const q = joint.narrow(2, 0, heads);
  const [k, v] = [joint.narrow(2, heads, kvHeads), joint.narrow(2, heads + kvHeads, kvHeads)];
  const rotation = {
    cos: randn([batch, 1, 1, size], options),
    sin: randn([batch, 1, 1, size], options),
  };
  const shared = {
    keys: randn([batch, kvHeads, size, prefix], options),
    values: randn([batch, kvHeads, prefix, size], options),
  };
  const own = {
    keys: randn([batch, kvHeads, responses, size, capacity], options),
    values: randn([batch, kvHeads, responses, capacity, size], options),
  };
  const hidden = Array.from({ length: batch * prefix }, (_, i) => (i >= batch * prefix - 2 ? -Infinity : 0));
  const padding = tensor(hidden, { shape: [batch, 1, 1, 1, 1, prefix], dtype: 'float64' });
  const result = functional.decodeAttention([q, k, v], rotation, shared, own, length, padding);
  expect(result.shape).toEqual([batch, responses, heads * size]);

  const [turnedQ, turnedK] = [turned(q, rotation.cos, rotation.sin), turned(k, rotation.cos, rotation.sin)];
  close(own.keys.select(4, length).toArray(), turnedK.transpose(1, 2).toArray());
  close(own.values.select(3, length).toArray(), v.transpose(1, 2).toArray());
  const expected: number[] = [];
  for (let b = 0; b < batch; b++) {
    for (let r = 0; r < responses; r++) {
      for (let h = 0; h < heads; h++) {
        const head = Math.floor(h / groups);
        const real = prefix - 2 * b;
        const mine = (x: Tensor): Tensor => x.select(0, b).select(0, head).select(0, r);
        const common = (x: Tensor): Tensor => x.select(0, b).select(0, head);
        const keys = cat([common(shared.keys).narrow(1, 0, real), mine(own.keys).narrow(1, 0, length + 1)], 1);
        const values = cat([common(shared.values).narrow(0, 0, real), mine(own.values).narrow(0, 0, length + 1)]);
        const scores = turnedQ.select(0, b).select(0, r).select(0, h).matmul(keys).div(Math.sqrt(size));
        expected.push(...scores.softmax(0).matmul(values).toArray());
      }
    }
  }
  close(result.toArray(), expected);
  expect(() => functional.decodeAttention([q, k, v], rotation, shared, own, capacity, padding)).toThrow('holds');
});

// Rows enough for several blocks, of prompts that blocks divide; widths that fill no vector.
test.each([
  { dtype: 'float64', batch: 3, responses: 45, width: 10, inner: 9 },
  { dtype: 'float32', batch: 1, responses: 2, width: 64, inner: 48 },
] as const)('decodeLayers are decoder layers around decodeAttention, in $dtype', (layer) => {
  const { dtype, batch, responses, width, inner } = layer;
  const generator = new Generator(7);
  const random = (...shape: number[]): Tensor => randn(shape, { generator }).mul(0.5).to(dtype);
  const [heads, kvHeads, size, prefix, capacity, at, eps] = [4, 2, 6, 5, 16, 3, 1e-6];
  const joint = (heads + 2 * kvHeads) * size;
  const weights = {
    inputNorm: random(width),
    qkv: random(width, joint),
    bias: random(joint),
    output: random(heads * size, width),
    postNorm: random(width),
    gateUp: random(width, 2 * inner),
    down: random(inner, width),
  };
  const rotation = { cos: random(batch, 1, 1, size), sin: random(batch, 1, 1, size) };
  const shared = { keys: random(batch, kvHeads, size, prefix), values: random(batch, kvHeads, prefix, size) };
  const own = {
    keys: random(batch, kvHeads, responses, size, capacity),
    values: random(batch, kvHeads, responses, capacity, size),
  };
  const [x, padding] = [random(batch, responses, width), random(batch, prefix)];
  const copy = { keys: own.keys.clone(), values: own.values.clone() };
  const result = functional.decodeLayers(x, rotation, [{ weights, prefix: shared, own }], at, padding, eps);

  const projected = rmsNorm(x, weights.inputNorm, eps).matmul(weights.qkv).add(weights.bias);
  const [q, k, v] = projected
    .split([heads * size, kvHeads * size, kvHeads * size], -1)
    .map((each) => each.contiguous().view(batch, responses, -1, size)) as [Tensor, Tensor, Tensor];
  const attended = functional.decodeAttention([q, k, v], rotation, shared, copy, at, padding);
  const stream = x.add(attended.matmul(weights.output));
  const gates = rmsNorm(stream, weights.postNorm, eps).matmul(weights.gateUp);
  const expected = stream.add(functional.swiglu(gates).matmul(weights.down));
  const tolerance = dtype === 'float64' ? 1e-12 : 1e-4;
  const largest = (a: Tensor, b: Tensor): number => a.sub(b).abs().max().item();
  expect(largest(result, expected)).toBeLessThan(tolerance);
  expect(largest(own.keys.select(4, at), copy.keys.select(4, at))).toBeLessThan(tolerance);
  expect(largest(own.values.select(3, at), copy.values.select(3, at))).toBeLessThan(tolerance);
  const wrong = { ...weights, down: random(inner + 1, width) };
  const layers = [{ weights: wrong, prefix: shared, own }];
  expect(() => functional.decodeLayers(x, rotation, layers, at, padding, eps)).toThrow('do not fit');
});

test.each(['float32', 'float64'] as const)('sample is inverse transform sampling, in %s', (dtype) => {
  const generator = new Generator(11);
  const [rows, size, temperature] = [40, 700, 0.7];
  const logits = randn([rows, size], { generator }).mul(3).to(dtype);
  const noise = Array.from({ length: rows }, (_, i) => (i + 0.5) / rows);
  const ban = Array.from({ length: size }, (_, i) => (i % 7 === 0 ? -Infinity : 0));
  const [tokens, logProbs] = functional.sample(
    logits,
    tensor(noise, { dtype: 'float64' }),
    tensor(ban, { dtype }),
    temperature,
  );
  const exact = logits.to('float64');
  const weights = exact
    .add(tensor(ban, { dtype: 'float64' }))
    .div(temperature)
    .softmax(-1);
  const raw = exact.logSoftmax(-1);
  tokens.toArray().forEach((token, row) => {
    expect(token % 7).not.toBe(0);
    const cumulative = weights.select(0, row).cumsum(0).toArray();
    expect(cumulative[token]!).toBeGreaterThan(noise[row]! - 1e-6);
    expect(cumulative[token]! - weights.select(0, row).toArray()[token]!).toBeLessThanOrEqual(noise[row]! + 1e-6);
    expect(logProbs.toArray()[row]).toBeCloseTo(raw.select(0, row).toArray()[token]!, 5);
  });
});

test.each(['float32', 'bfloat16'] as const)('linearPacked multiplies as linear does, in %s', (dtype) => {
  const generator = new Generator(3);
  const make = (...shape: number[]): Tensor => randn(shape, { generator }).to(dtype);
  const [weight, bias, x] = [make(48, 32), make(48), make(3, 5, 64).narrow(-1, 7, 32)];
  const packed = functional.packWeight(weight);
  if (!packed) return; // a processor or a libtorch without oneDNN's product
  const expected = functional.linear(x, weight, bias).to('float64');
  const off = functional.linearPacked(x, packed, bias).to('float64').sub(expected).abs().max().toArray()[0]!;
  expect(off).toBeLessThan(dtype === 'float32' ? 1e-5 : 0.2);
});

test('packWeight leaves float64 alone', () => {
  expect(functional.packWeight(ones([4, 4], { dtype: 'float64' }))).toBeUndefined();
});
