/** The bridge by the kinds of arguments and results that schemas know, each through an operator that has one. */
import { describe, expect, test } from 'vitest';

import type { Tensor } from './index.ts';
import { arange, callOp, full, Generator, ones, scope, tensor, TorchError, zeros, type DType } from './index.ts';
import { native } from './native.ts';

const call = (name: string, ...values: unknown[]): Tensor => callOp(name, ...values) as Tensor;
const x = tensor([
  [1, 2, 3],
  [4, 5, 6],
]);

describe('arguments', () => {
  test.each<[string, () => Tensor, number[]]>([
    ['Tensor', () => call('neg', x), [-1, -2, -3, -4, -5, -6]],
    ['Tensor? given', () => call('linear', x, ones([1, 3]), tensor([10])), [16, 25]],
    ['Tensor? null', () => call('linear', x, ones([1, 3]), null), [6, 15]],
    ['Tensor? left out', () => call('linear', x, ones([1, 3])), [6, 15]],
    ['Tensor[]', () => call('cat', [x, x], 1), [1, 2, 3, 1, 2, 3, 4, 5, 6, 4, 5, 6]],
    ['Tensor?[]', () => call('index.Tensor', x, [null, arange(2, 3)]), [3, 6]],
    ['int', () => call('select.int', x, 1, -1), [3, 6]],
    ['int as bigint', () => call('select.int', x, 1, 2n), [3, 6]],
    ['int[]', () => call('permute', x, [1, 0]), [1, 4, 2, 5, 3, 6]],
    ['int[1] as one number', () => call('sum.dim_IntList', x, 0), [5, 7, 9]],
    ['int[2] as one number', () => call('avg_pool2d', x.view(1, 2, 3), 2), [3]],
    ['int[]? null', () => call('sum.dim_IntList', x, null), [21]],
    ['float', () => call('dropout', x, 0, true), [1, 2, 3, 4, 5, 6]],
    ['float?', () => call('nan_to_num', tensor([NaN, 1]), 7.5), [7.5, 1]],
    ['float[]', () => call('upsample_nearest1d.vec', x.view(1, 2, 3), null, [2]), [1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6]],
    ['bool', () => call('searchsorted.Tensor', tensor([1, 2, 3]), tensor([2]), false, true), [2]],
    ['Scalar, integral', () => call('add.Scalar', x, 1), [2, 3, 4, 5, 6, 7]],
    ['Scalar with alpha', () => call('add.Scalar', x, 1, 0.5), [1.5, 2.5, 3.5, 4.5, 5.5, 6.5]],
    ['Scalar?', () => call('clamp', x, null, 3), [1, 2, 3, 3, 3, 3]],
    ['ScalarType', () => call('to.dtype', tensor([1.9]), 4), [1]],
    ['Device', () => call('to.device', x, 'cpu', 7), [1, 2, 3, 4, 5, 6]],
    ['Layout', () => call('zeros', [2], 6, 0, 'cpu', false), [0, 0]],
    ['str', () => call('einsum', 'ij,kj->ik', [x, x]), [14, 32, 32, 77]],
    ['str with a default', () => call('gelu', zeros([1]), 'tanh'), [0]],
  ])('%s', (_, run, expected) => {
    expect(run().toArray()).toEqual(expected);
  });

  test('Scalar[]', () => {
    const [a, b] = callOp('_foreach_add.ScalarList', [ones([1]), ones([1])], [2, 0.5]) as [Tensor, Tensor];
    expect([a.item(), b.item()]).toEqual([3, 1.5]);
  });

  test('bool[]: a gradient that is not asked for is no tensor', () => {
    const [norm, mean, rstd] = callOp('native_layer_norm', x, [3], null, null, 0) as [Tensor, Tensor, Tensor];
    expect(norm.toArray()[1]).toBeCloseTo(0, 6);
    const backward = 'native_layer_norm_backward';
    const gradients = callOp(backward, ones([2, 3]), x, [3], mean, rstd, ones([3]), zeros([3]), [true, false, true]);
    expect(gradients).toMatchObject([{ shape: [2, 3] }, undefined, { shape: [3] }]);
    expect((gradients as [Tensor, undefined, Tensor])[2].toArray()).toEqual([2, 2, 2]);
  });

  test('MemoryFormat', () => {
    const image = arange(0, 8).view(1, 2, 2, 2);
    const channelsLast = call('contiguous', image, 2);
    expect(channelsLast.toArray()).toEqual([0, 1, 2, 3, 4, 5, 6, 7]);
    expect(channelsLast.permute(0, 2, 3, 1).view(-1).toArray()).toEqual([0, 4, 1, 5, 2, 6, 3, 7]);
  });

  test('Generator: equal seeds, equal numbers', () => {
    const draw = (seed: number): number[] =>
      call('randn.generator', [4], new Generator(seed), 7, null, 'cpu').toArray();
    expect(draw(5)).toEqual(draw(5));
    expect(draw(5)).not.toEqual(draw(6));
  });
});

describe('results', () => {
  test('several tensors, a list of tensors, a number, a boolean, nothing', () => {
    expect((callOp('max.dim', x, 1) as Tensor[]).map((each) => each.toArray())).toEqual([[3, 6], [2, 2]]); // prettier-ignore
    expect((callOp('unbind.int', x) as Tensor[]).map((each) => each.toArray())).toEqual([[1, 2, 3], [4, 5, 6]]); // prettier-ignore
    expect(callOp('size.int', x, 1)).toBe(3);
    expect(callOp('result_type.Tensor', x, tensor([1], { dtype: 'float64' }))).toBe(7);
    expect(callOp('equal', x, x)).toBe(true);
    expect(callOp('_foreach_mul_.Scalar', [ones([1])], 2)).toBeUndefined();
  });

  test('an operator outside of aten is reached by its full name', () => {
    expect(call('aten::neg', x).select(0, 0).toArray()).toEqual([-1, -2, -3]);
    expect(() => callOp('nowhere::neg', x)).toThrow('this libtorch has no operator nowhere::neg');
  });
});

describe('numbers', () => {
  test('an integral number is an integer Scalar, and factories make float32 all the same', () => {
    const counts = arange(0, 3);
    expect(counts.add(1).dtype).toBe('int64');
    expect(counts.add(1.5).dtype).toBe('float32');
    expect(counts.mul(-0).dtype).toBe('float32');
    expect(full([2], 1).dtype).toBe('float32');
    expect([zeros([1]), ones([1]), tensor(1), tensor([1, 2])].map((each) => each.dtype)).toEqual(
      Array<DType>(4).fill('float32'),
    );
  });

  test('int64 beyond 2^53 is refused, not rounded, on the way in and on the way out', () => {
    const large = tensor(BigInt64Array.of(2n ** 53n + 1n));
    expect(() => large.item()).toThrow('the int64 value 9007199254740993 does not fit into a JavaScript number');
    expect(() => large.toArray()).toThrow('9007199254740993');
    expect(large.toTypedArray()).toEqual(BigInt64Array.of(2n ** 53n + 1n));
    expect(large.sub(2).item()).toBe(2 ** 53 - 1);
    expect(call('sub.Scalar', large, 2n ** 53n).item()).toBe(1);

    expect(() => x.select(0, 2 ** 53)).toThrow("argument 'index': expected an integer of at most 2^53 - 1");
    expect(() => callOp('select.int', x, 0, 2n ** 63n)).toThrow('does not fit into int64');
    expect(() => tensor([2 ** 53], { dtype: 'int64' })).toThrow('no int64');
    expect(() => tensor([NaN], { dtype: 'int64' })).toThrow('no int64');
  });
});

describe('errors', () => {
  const thrown = (body: () => unknown): TorchError => {
    try {
      body();
    } catch (error) {
      expect(error).toBeInstanceOf(TorchError);
      expect((error as TorchError).message).not.toMatch(/Exception raised from|frame #/);
      return error as TorchError;
    }
    throw new Error('nothing was thrown');
  };

  test('a TorchError names the operator and the shapes', () => {
    const error = thrown(() => x.matmul(x));
    expect(error.operator).toBe('aten::matmul');
    expect(error.shapes).toBe('Float[2, 3], Float[2, 3]');
    expect(error.message).toMatch(/^aten::matmul \(Float\[2, 3\], Float\[2, 3\]\): mat1 and mat2/);
  });

  test.each<[string, string, () => unknown]>([
    ['a list of tensors', 'Float[2, 3], Long[1]', () => callOp('stack', [x, arange(0, 1)])],
    ['a list of optional tensors', 'Float[2, 3], Long[1]', () => x.index([null, arange(7, 8)])],
    ['an optional tensor', 'Float[2, 3], Float[3, 3], Float[2]', () => callOp('linear', x, ones([3, 3]), ones([2]))],
    ['no tensor', '', () => zeros([-1])],
  ])('shapes with %s', (_, shapes, body) => {
    expect(thrown(body).shapes).toBe(shapes);
  });

  test.each<[string, () => unknown, string]>([
    ['a missing argument', () => callOp('select.int', x), "argument 'dim' is missing"],
    ['too many arguments', () => callOp('neg', x, 1), 'takes 1 arguments, got 2'],
    ['a string for a tensor', () => callOp('neg', 'x'), 'expected a tensor'],
    ['null for a tensor', () => callOp('neg', null), "argument 'self': expected a tensor"],
    ['a fraction for an int', () => x.select(0, 0.5), "argument 'index': expected an integer"],
    ['NaN for an int', () => x.select(0, NaN), 'expected an integer'],
    ['a string for an int', () => callOp('select.int', x, '0', 0), "argument 'dim': expected an integer"],
    ['a number for a bool', () => callOp('sum.dim_IntList', x, [0], 1), "argument 'keepdim': expected a boolean"],
    ['a number for a string', () => callOp('gelu', x, 1), "argument 'approximate'"],
    ['a number for a list', () => callOp('view', x, 6), "argument 'size': expected an array"],
    ['a number for a list of tensors', () => callOp('cat', 3), "argument 'tensors': expected an array"],
    ['a number for a list of Scalars', () => callOp('_foreach_add.ScalarList', [x], 2), "argument 'scalars'"],
    ['a device that is none', () => x.to({ device: 'abacus' }), "argument 'device'"],
    ['an unknown operator', () => callOp('nonsense'), 'this libtorch has no operator aten::nonsense'],
    ['an unknown overload', () => callOp('add.Nonsense'), 'no operator aten::add.Nonsense'],
    ['an operator id that is none', () => native.call(1_000_000), ''],
  ])('%s', (_, body, message) => {
    expect(thrown(body).message).toContain(message);
  });

  test('a disposed tensor says what it is, wherever it is used', () => {
    const gone = scope(() => {
      x.neg();
      const inside = x.neg();
      inside.dispose();
      return inside;
    });
    for (const use of [
      () => gone.neg(),
      () => x.add(gone),
      () => callOp('cat', [x, gone]),
      () => gone.item(),
      () => gone.dtype,
    ])
      // prettier-ignore
      expect(thrown(use).message).toContain('the tensor was disposed');
    expect(thrown(() => x.add(gone)).shapes).toBe('Float[2, 3]');
    expect(String(gone)).toBe('tensor(disposed)');
  });
});
