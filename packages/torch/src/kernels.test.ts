/**
 * Our kernels against the chains of libtorch's operators that they replace, forward and backward, at sizes that fill no
 * vector. vitest.config.ts runs this file once per instruction set of the machine.
 */
import { describe, expect, test } from 'vitest';

import {
  arange,
  cat,
  functional,
  Generator,
  grad,
  info,
  randn,
  stack,
  tensor,
  zeros,
  type DType,
  type Tensor,
} from './index.ts';

const { addProduct, countedDropout, decodeAttention, decodeLayers, deltaRule, deltaToken, linear, packedAttention } =
  functional;
const { rmsNorm, rotate, sample, swiglu } = functional;

test('the level is the one that was asked for', () => {
  const asked = process.env['ATEN_CPU_CAPABILITY'];
  expect(info().cpuCapability.toLowerCase()).toBe(asked);
  expect(info().kernels.toLowerCase()).toBe(asked);
});

const generator = new Generator(17);
const dtypes = ['float32', 'float64'] as const;
const tolerance = { float32: 3e-5, float64: 1e-11 } as const;
const make = (dtype: DType, ...shape: number[]): Tensor => randn(shape, { dtype, generator });
/** A view of part of a wider tensor, with another stride than its own shape has. */
const cut = (dtype: DType, ...shape: number[]): Tensor =>
  make(dtype, ...shape.slice(0, -1), shape.at(-1)! + 3).narrow(-1, 2, shape.at(-1)!);

function expectSame(got: Tensor, expected: Tensor, dtype: (typeof dtypes)[number]): void {
  expect(got.shape).toEqual(expected.shape);
  const largest = Math.max(1, expected.abs().max().item());
  expect(got.sub(expected).abs().max().item() / largest).toBeLessThan(tolerance[dtype]);
}

/** Both give the same values, and the same gradients by `inputs` for a random one by the result. */
function expectSameWithGradients(
  kernel: (...inputs: Tensor[]) => Tensor,
  chain: (...inputs: Tensor[]) => Tensor,
  inputs: Tensor[],
  dtype: (typeof dtypes)[number],
): void {
  for (const each of inputs) each.requiresGrad_();
  const [got, expected] = [kernel(...inputs), chain(...inputs)];
  expectSame(got.detach(), expected.detach(), dtype);
  const direction = make(dtype, ...expected.shape);
  const of = (y: Tensor) => grad([y], inputs, { gradOutputs: [direction] }) as Tensor[];
  const [ours, theirs] = [of(got), of(expected)];
  ours.forEach((each, i) => {
    expectSame(each, theirs[i]!, dtype);
  });
}

const normChain = (x: Tensor, w: Tensor): Tensor => x.mul(x.square().mean(-1, true).add(1e-6).rsqrt()).mul(w);
const gateChain = (gate: Tensor, up: Tensor): Tensor => gate.silu().mul(up);
const turnChain = (x: Tensor, cos: Tensor, sin: Tensor): Tensor => {
  const half = x.size(-1) / 2;
  const rolled = cat([x.narrow(-1, half, half), x.narrow(-1, 0, half)], -1);
  return x.mul(cos).add(rolled.mul(sin));
};
/** 1 where an element is kept: draws of 16 bits of a hash of 64, with their sign. */
function keptByHash(keys: readonly bigint[], width: number, gamma: bigint, below: number): number[][] {
  const mix = (x: bigint): bigint => BigInt.asUintN(64, (x ^ (x >> 32n)) * 0xdaba0b6eb09322e3n);
  return keys.map((key) =>
    Array.from({ length: width }, (_, column) => {
      const z = mix(mix(BigInt.asUintN(64, key + BigInt(Math.floor(column / 4) + 1) * gamma)));
      const draw = BigInt.asIntN(16, (z ^ (z >> 32n)) >> BigInt(16 * (column % 4)));
      return Number(Number(draw) + 0x8000 >= below);
    }),
  );
}
const unit = (x: Tensor): Tensor => x.mul(x.square().sum(-1, true).add(1e-6).rsqrt());
/** The gated delta rule, one token after the other, of q, k, v, g, beta and a state. */
function deltaChain([q, k, v, g, beta, before]: readonly Tensor[]): [Tensor, Tensor] {
  const [rows, tokens, heads] = v!.shape as [number, number, number];
  const repeats = heads / k!.size(2);
  const at = (x: Tensor, t: number): Tensor => x.select(1, t).repeatInterleave(x.size(2) === heads ? 1 : repeats, 1);
  let state = before ?? zeros([rows, heads, k!.size(3), v!.size(3)], { dtype: v!.dtype });
  const out = Array.from({ length: tokens }, (_, t) => {
    const [asked, key] = [at(q!, t).unsqueeze(-1), at(k!, t).unsqueeze(-1)];
    state = state.mul(at(g!, t).exp().unsqueeze(-1).unsqueeze(-1));
    const error = at(v!, t).sub(state.mul(key).sum(-2)).mul(at(beta!, t).unsqueeze(-1));
    state = state.add(key.mul(error.unsqueeze(-2)));
    return state.mul(asked).sum(-2);
  });
  return [stack(out, 1), state];
}
function rotation(dtype: DType, ...shape: number[]): { cos: Tensor; sin: Tensor } {
  const angles = make(dtype, ...shape.slice(0, -1), shape.at(-1)! / 2);
  return { cos: cat([angles.cos(), angles.cos()], -1), sin: cat([angles.sin().neg(), angles.sin()], -1) };
}

describe.each(dtypes)('in %s', (dtype) => {
  test.each([1, 2, 7, 16, 31, 67, 128, 257])('norm and gate of rows of %i', (width) => {
    for (const rows of [1, 5, 70]) {
      const inputs = [make(dtype, rows, width), make(dtype, width)];
      expectSameWithGradients(
        (x, w) => rmsNorm(x, w, 1e-6),
        (x, w) => normChain(x, w),
        inputs,
        dtype,
      );
      const halves = [cut(dtype, rows, width), make(dtype, rows, width)];
      expectSameWithGradients(
        (a, b) => swiglu(a, b),
        (a, b) => gateChain(a, b),
        halves,
        dtype,
      );
      const split = (x: Tensor): Tensor[] => [x.narrow(-1, 0, width), x.narrow(-1, width, width)];
      const joint = (x: Tensor): Tensor => gateChain(split(x)[0]!, split(x)[1]!);
      expectSameWithGradients(
        (x) => swiglu(x),
        (x) => joint(x),
        [make(dtype, rows, 2 * width)],
        dtype,
      );
    }
  });

  test.each([1, 2, 3, 4, 31, 127, 128, 129, 300])('dropout of rows of %i, also as other devices do it', (width) => {
    const gamma = 0x1b873593a5f3c1;
    for (const [rows, below] of [
      [1, 30000],
      [70, 6554],
      [9, 65535],
    ] as const) {
      const words = [5n, -7n, -(2n ** 63n), 0n];
      const own = Array.from(
        { length: rows },
        (_, i) => words[i] ?? BigInt.asIntN(64, BigInt(i) * 0x9e3779b97f4a7c15n),
      );
      const kept = tensor(keptByHash(own, width, BigInt(gamma), below), { dtype });
      const keys = tensor(BigInt64Array.from(own));
      expectSameWithGradients(
        (x) => countedDropout(x, { keys, gamma }, below),
        (x) => x.mul(kept),
        [cut(dtype, rows, width)],
        dtype,
      );
      // In half precision the CPU, too, runs the chain.
      const steps = arange(1, Math.ceil(width / 4) + 1);
      const ones = kept.to('bfloat16').fill_(1);
      for (const draws of [
        { keys, gamma },
        { keys, gamma, steps },
      ])
        expect(countedDropout(ones, draws, below).toArray()).toEqual(kept.toArray());
    }
  });

  // Below and above the sizes from which another library multiplies, and from which rows are not filled up for it.
  test.each([
    [7, 5, 3],
    [601, 130, 253],
    [601, 1100, 503],
  ])('products of %i rows, %i to %i', (rows, from, to) => {
    const chain = (x: Tensor, w: Tensor): Tensor => x.matmul(w.t());
    const [x, w, b] = [make(dtype, rows, from), make(dtype, to, from), make(dtype, to)];
    expectSameWithGradients((...each) => linear(each[0]!, each[1]!, each[2]), (x, w, b) => chain(x, w).add(b), [x, w, b], dtype); // prettier-ignore
    const strided = [
      cut(dtype, 1, rows, from),
      make(dtype, from + 2, to)
        .narrow(0, 1, from)
        .t(),
    ];
    expectSameWithGradients((x, w) => linear(x, w), chain, strided, dtype);
    const [sum, a] = [make(dtype, to, from), cut(dtype, rows, to)];
    const expected = sum.add(a.t().matmul(x.detach()));
    addProduct(sum, a, x.detach());
    expectSame(sum, expected, dtype);
  });

  test('products fit, whoever multiplies', () => {
    for (const scale of [1, 200, 600]) {
      const x = make(dtype, scale, scale);
      expect(() => linear(x, make(dtype, 2 * scale, scale + 1))).toThrow();
      for (const [rows, columns] of [
        [scale + 1, scale],
        [scale, scale + 1],
      ] as const) {
        expect(() => addProduct(make(dtype, rows, columns), make(dtype, 2 * scale, scale), make(dtype, 2 * scale, scale))).toThrow(); // prettier-ignore
      }
    }
  });

  test('only what is trained takes a gradient of a product', () => {
    const inputs = [make(dtype, 601, 1100), make(dtype, 503, 1100), make(dtype, 503)] as const;
    for (const [i, trained] of inputs.entries()) {
      const [x, w, b] = inputs.map((each) => each.detach().requiresGrad_(each === trained)) as [Tensor, Tensor, Tensor];
      const y = linear(x, w, b);
      const direction = make(dtype, 601, 503);
      const [found] = grad([y], [[x, w, b][i]!], { gradOutputs: [direction] });
      const expected = [() => direction.matmul(w), () => direction.t().matmul(x), () => direction.sum(0)][i]!();
      expectSame(found!, expected.detach(), dtype);
    }
  });

  test.each([2, 6, 10, 32, 34, 80])('rotation of heads of %i', (size) => {
    for (const [batch, tokens, heads] of [
      [1, 1, 1],
      [2, 19, 3],
    ] as const) {
      const { cos, sin } = rotation(dtype, batch, tokens, 1, size);
      const x = make(dtype, batch, tokens, heads + 2, size).narrow(2, 1, heads);
      expectSameWithGradients(
        (a) => rotate(a, cos, sin),
        (a) => turnChain(a, cos, sin),
        [x],
        dtype,
      );
    }
  });

  test.each([
    { size: 3, lengths: [1], responses: 0, tokens: 0, from: 0, heads: 1, kvHeads: 1 },
    { size: 17, lengths: [49, 30], responses: 3, tokens: 13, from: 0, heads: 4, kvHeads: 2 },
    { size: 32, lengths: [16], responses: 2, tokens: 51, from: 15, heads: 2, kvHeads: 2 },
    { size: 65, lengths: [97, 5, 96], responses: 1, tokens: 1, from: 40, heads: 3, kvHeads: 1 },
  ])('packed attention: $lengths, $responses x $tokens, from $from, size $size', (shape) => {
    const { size, lengths, responses, tokens, from, heads, kvHeads } = shape;
    const [batch, prefix] = [lengths.length, Math.max(...lengths)];
    const places = prefix + responses * tokens;
    const sees = (b: number, query: number, key: number): boolean => {
      if (query < prefix || key >= prefix) {
        const responseOf = (place: number): number => (place < prefix ? -1 : Math.floor((place - prefix) / tokens));
        return key <= query && responseOf(key) === responseOf(query);
      }
      return key < lengths[b]!;
    };
    const mask = Array.from({ length: batch * places * places }, (_, i) => {
      const [b, rest] = [Math.floor(i / places ** 2), i % places ** 2];
      return sees(b, Math.floor(rest / places), rest % places) ? 0 : -Infinity;
    });
    const hidden = tensor(mask, { shape: [batch, 1, places, places], dtype }).narrow(2, from, places - from);
    const chain = (q: Tensor, k: Tensor, v: Tensor): Tensor => {
      const repeat = (x: Tensor): Tensor => x.transpose(1, 2).repeatInterleave(heads / kvHeads, 1);
      const scores = q.transpose(1, 2).matmul(repeat(k).transpose(2, 3)).div(Math.sqrt(size)).add(hidden);
      const out = scores.softmax(-1).matmul(repeat(v));
      return out.transpose(1, 2).reshape(batch, places - from, heads * size);
    };
    const inputs = [
      make(dtype, batch, places - from, heads + 1, size).narrow(2, 0, heads),
      make(dtype, batch, places, kvHeads, size),
      make(dtype, batch, places, kvHeads, size),
    ];
    const kernel = (q: Tensor, k: Tensor, v: Tensor): Tensor => packedAttention([q, k, v], lengths, responses, tokens);
    expectSameWithGradients(
      (q, k, v) => kernel(q, k, v),
      (q, k, v) => chain(q, k, v),
      inputs,
      dtype,
    );
  });

  describe.each([
    { batch: 1, responses: 1, heads: 1, kvHeads: 1, size: 2, prefix: 1, capacity: 1, at: 0, width: 5, inner: 3 },
    { batch: 2, responses: 5, heads: 6, kvHeads: 2, size: 10, prefix: 37, capacity: 21, at: 17, width: 33, inner: 47 },
    { batch: 3, responses: 45, heads: 4, kvHeads: 2, size: 32, prefix: 64, capacity: 40, at: 31, width: 64, inner: 70 },
    {
      batch: 1,
      responses: 17,
      heads: 9,
      kvHeads: 1,
      size: 66,
      prefix: 13,
      capacity: 16,
      at: 15,
      width: 67,
      inner: 129,
    },
  ])('decoding $responses responses of $batch prompts, heads of $size', (shape) => {
    const { batch, responses, heads, kvHeads, size, prefix, capacity, at, width, inner } = shape;
    const setUp = () => {
      const own = {
        keys: make(dtype, batch, kvHeads, responses, size, capacity),
        values: make(dtype, batch, kvHeads, responses, capacity, size),
      };
      return {
        own,
        copy: { keys: own.keys.clone(), values: own.values.clone() },
        shared: { keys: make(dtype, batch, kvHeads, size, prefix), values: make(dtype, batch, kvHeads, prefix, size) },
        turn: rotation(dtype, batch, 1, 1, size),
        padding: make(dtype, batch, prefix),
      };
    };
    type Parts = ReturnType<typeof setUp>;
    /** [B, K, H d]; keys and values of the new tokens go to `copy`. */
    const attendChain = ([q, k, v]: Tensor[], { copy, shared, turn, padding }: Parts): Tensor => {
      const [groups, length] = [heads / kvHeads, at + 1];
      copy.keys.select(4, at).copy_(turnChain(k!, turn.cos, turn.sin).transpose(1, 2));
      copy.values.select(3, at).copy_(v!.transpose(1, 2));
      const queries = turnChain(q!, turn.cos, turn.sin)
        .div(Math.sqrt(size))
        .reshape(batch, responses, kvHeads, groups, size)
        .permute(0, 2, 1, 3, 4);
      const onPrefix = queries.matmul(shared.keys.unsqueeze(2)).add(padding.view(batch, 1, 1, 1, prefix));
      const onOwn = queries.matmul(copy.keys.narrow(4, 0, length));
      const [a, b] = cat([onPrefix, onOwn], -1).softmax(-1).split([prefix, length], -1) as [Tensor, Tensor];
      const out = a.matmul(shared.values.unsqueeze(2)).add(b.matmul(copy.values.narrow(3, 0, length)));
      return out.permute(0, 2, 1, 3, 4).reshape(batch, responses, heads * size);
    };
    const expectSameCaches = ({ own, copy }: Parts): void => {
      expectSame(own.keys, copy.keys, dtype);
      expectSame(own.values, copy.values, dtype);
    };

    test('attention', () => {
      const parts = setUp();
      const joint = make(dtype, batch, responses, heads + 2 * kvHeads, size);
      const qkv = joint.split([heads, kvHeads, kvHeads], 2) as [Tensor, Tensor, Tensor];
      const got = decodeAttention(qkv, parts.turn, parts.shared, parts.own, at, parts.padding);
      expectSame(got, attendChain(qkv, parts), dtype);
      expectSameCaches(parts);
    });

    test('whole layers', () => {
      const matrix = (rows: number, columns: number): Tensor => make(dtype, rows, columns).div(Math.sqrt(rows));
      const split = [heads * size, kvHeads * size, kvHeads * size];
      const joint = (heads + 2 * kvHeads) * size;
      const layers = [setUp(), setUp()].map((parts) => ({
        ...parts,
        weights: {
          inputNorm: make(dtype, width),
          qkv: matrix(width, joint),
          bias: make(dtype, joint),
          output: matrix(heads * size, width),
          postNorm: make(dtype, width),
          gateUp: matrix(width, 2 * inner),
          down: matrix(inner, width),
        },
      }));
      const { turn, padding } = layers[0]!;
      const x = make(dtype, batch, responses, width);
      const stack = layers.map(({ weights, shared, own }) => ({ weights, prefix: shared, own }));
      const got = decodeLayers(x, turn, stack, at, padding, 1e-6);
      let stream = x;
      for (const { weights, ...parts } of layers) {
        const projected = normChain(stream, weights.inputNorm).matmul(weights.qkv).add(weights.bias);
        const qkv = projected.split(split, -1).map((each) => each.reshape(batch, responses, -1, size));
        stream = stream.add(attendChain(qkv, { ...parts, turn, padding }).matmul(weights.output));
        const [gate, up] = normChain(stream, weights.postNorm).matmul(weights.gateUp).split([inner, inner], -1);
        stream = stream.add(gateChain(gate!, up!).matmul(weights.down));
      }
      expectSame(got, stream, dtype);
      layers.forEach(expectSameCaches);
    });
  });

  test.each([1, 2, 63, 64, 65, 130])(
    'the gated delta rule of %i tokens in chunks, as one token after the other',
    (tokens) => {
      for (const [rows, keyHeads, groups, dk, dv] of [
        [1, 1, 1, 3, 5],
        [2, 2, 2, 8, 16],
      ] as const) {
        const heads = keyHeads * groups;
        const inputs = [
          ...[unit(make(dtype, rows, tokens, keyHeads, dk)), unit(make(dtype, rows, tokens, keyHeads, dk))],
          make(dtype, rows, tokens, heads, dv),
          // Some chunks decay to less than the smallest number.
          make(dtype, rows, tokens, heads).square().mul(-3),
          make(dtype, rows, tokens, heads).sigmoid(),
          make(dtype, rows, heads, dk, dv),
        ];
        const both =
          (rule: (...inputs: Tensor[]) => [Tensor, Tensor]) =>
          (...each: Tensor[]) => {
            const [out, state] = rule(...each);
            return cat([out.reshape(-1), state.reshape(-1)]);
          };
        expectSameWithGradients(
          both((q, k, v, g, beta, state) => deltaRule({ q, k, v, g, beta }, state)),
          both((...each) => deltaChain(each)),
          inputs.map((each) => each.detach()),
          dtype,
        );
      }
    },
  );

  test('of what the rule gives only a part takes a gradient, and only what is trained gets one', () => {
    const [q, k, v] = [make(dtype, 1, 3, 1, 2), make(dtype, 1, 3, 1, 2), make(dtype, 1, 3, 1, 2)].map(unit) as [Tensor, Tensor, Tensor]; // prettier-ignore
    const [g, beta] = [make(dtype, 1, 3, 1).square().neg(), make(dtype, 1, 3, 1).sigmoid()];
    const alone = v.detach().requiresGrad_();
    const [, state] = deltaRule({ q, k, v: alone, g, beta });
    const [found] = grad([state.sum()], [alone]);
    const again = v.detach().requiresGrad_();
    const [expected] = grad([deltaChain([q, k, again, g, beta])[1].sum()], [again]);
    expectSame(found!, expected!, dtype);
  });

  test.each([2, 3, 4])('a token of a gated delta net behind a convolution over %i', (taps) => {
    for (const [rows, keyHeads, groups, dk, dv] of [
      [1, 1, 1, 3, 5],
      [3, 2, 3, 16, 17],
      [2, 1, 2, 64, 64],
    ] as const) {
      const [heads, channels] = [keyHeads * groups, 2 * keyHeads * dk + keyHeads * groups * dv];
      const token = {
        mixed: make(dtype, rows, channels),
        g: make(dtype, rows, heads).square().neg(),
        beta: make(dtype, rows, heads).sigmoid(),
        gate: make(dtype, rows, heads * dv),
      };
      const weights = { taps: make(dtype, taps, channels), norm: make(dtype, dv), eps: 1e-6 };
      const state = { tail: make(dtype, rows, taps - 1, channels), sums: make(dtype, rows, heads, dk, dv) };
      const window = cat([state.tail, token.mixed.unsqueeze(1)], 1);
      const [q, k, v] = window
        .mul(weights.taps)
        .sum(1)
        .silu()
        .split([keyHeads * dk, keyHeads * dk, heads * dv], -1);
      const wide = (each: Tensor | undefined, count: number, size: number): Tensor => each!.view(rows, 1, count, size);
      const each = [unit(wide(q, keyHeads, dk)).mul(dk ** -0.5), unit(wide(k, keyHeads, dk)), wide(v, heads, dv)];
      const [read, sums] = deltaChain([...each, token.g.unsqueeze(1), token.beta.unsqueeze(1), state.sums]);
      const expected = gateChain(token.gate, normChain(read, weights.norm).view(rows, heads * dv));
      expectSame(deltaToken(token, weights, state), expected, dtype);
      expectSame(state.sums, sums, dtype);
      expectSame(state.tail, window.narrow(1, 1, taps - 1), dtype);
    }
  });

  test.each([1, 9, 255, 257, 1031])('sampling from %i tokens', (size) => {
    for (const [temperature, banned] of [
      [1, false],
      [1, true],
      [0.6, true],
      [2, false],
    ] as const) {
      // prettier-ignore
      const rows = 23;
      const logits = make(dtype, rows, size).mul(3);
      const noise = Array.from({ length: rows }, (_, i) => (i + 0.5) / rows);
      const ban = Array.from({ length: size }, (_, i) => (banned && i % 3 === 1 ? -Infinity : 0));
      const forbidden = banned ? tensor(ban, { dtype }) : undefined;
      const [tokens, logProbs] = sample(logits, tensor(noise, { dtype: 'float64' }), forbidden, temperature);
      const exact = logits.to('float64');
      const masses = exact
        .add(tensor(ban, { dtype: 'float64' }))
        .div(temperature)
        .softmax(-1);
      const chosen = tokens.unsqueeze(-1);
      expectSame(logProbs, exact.logSoftmax(-1).gather(-1, chosen).squeeze(-1), dtype);
      const after = masses.cumsum(-1).gather(-1, chosen).squeeze(-1).toArray();
      const own = masses.gather(-1, chosen).squeeze(-1).toArray();
      noise.forEach((each, row) => {
        expect(own[row]).toBeGreaterThan(0);
        expect(after[row]).toBeGreaterThan(each - 1e-5);
        expect(after[row]! - own[row]!).toBeLessThan(each + 1e-5);
      });
    }
  });
});
