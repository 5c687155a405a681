import { describe, expect, test } from 'vitest';

import * as torch from './index.ts';
import {
  arange,
  cat,
  eye,
  full,
  Generator,
  manualSeed,
  meshgrid,
  ones,
  rand,
  randn,
  stack,
  tensor,
  zeros,
} from './index.ts';

test('factories fill as they say', () => {
  expect(zeros([2]).toArray()).toEqual([0, 0]);
  expect(ones([2], { dtype: 'int64' }).toTypedArray()).toEqual(BigInt64Array.of(1n, 1n));
  expect(full([2], -0.5).toArray()).toEqual([-0.5, -0.5]);
  expect(eye(2).toArray()).toEqual([1, 0, 0, 1]);
  expect(arange(1, 8, 3).toArray()).toEqual([1, 4, 7]);
  expect(arange(0, 1, 0.25, { dtype: 'float32' }).toArray()).toEqual([0, 0.25, 0.5, 0.75]);
  expect(torch.empty([2, 0]).shape).toEqual([2, 0]);
});

test('tensors are joined', () => {
  const [a, b] = [tensor([1, 2]), tensor([3, 4])];
  expect(cat([a, b]).toArray()).toEqual([1, 2, 3, 4]);
  expect(stack([a, b], 1).toArray()).toEqual([1, 3, 2, 4]);
  expect(meshgrid([a, b]).map((each) => each.toArray())).toEqual([[1, 1, 2, 2], [3, 4, 3, 4]]); // prettier-ignore
});

describe('random numbers', () => {
  test('a generator goes on from a saved state to the same numbers', () => {
    const generator = new Generator(7);
    rand([3], { generator });
    const { state } = generator;
    const expected = randn([5], { generator }).toArray();
    const other = new Generator(0);
    other.state = state;
    expect(randn([5], { generator: other }).toArray()).toEqual(expected);
    generator.state = state;
    expect(randn([5], { generator }).toArray()).toEqual(expected);
    expect(() => (generator.state = ones([2]))).toThrow(torch.TorchError);
  });

  test('streams do not disturb each other or the default one', () => {
    manualSeed(1);
    const expected = rand([2]).toArray();
    manualSeed(1);
    rand([9], { generator: new Generator(1) });
    expect(rand([2]).toArray()).toEqual(expected);
  });

  test('a seed has 64 bits', () => {
    const draw = (seed: number | bigint): number => rand([1], { generator: new Generator(seed) }).item();
    expect(draw(2n ** 64n - 1n)).toBe(draw(2n ** 64n - 1n));
    expect(() => draw(-1)).toThrow('a seed is an integer from 0 to 2^64 - 1');
    expect(() => manualSeed(2n ** 64n)).toThrow('a seed is an integer from 0 to 2^64 - 1');
    expect(() => draw(0.5)).toThrow(RangeError);
  });

  test('they are distributed as they say', () => {
    const uniform = rand([10_000], { generator: new Generator(3) });
    const normal = randn([10_000], { generator: new Generator(3) });
    // four standard errors: 4 / sqrt(12 * 10,000) and 4 / sqrt(10,000)
    expect(Math.abs(uniform.mean().item() - 0.5)).toBeLessThan(0.012);
    expect(Math.abs(normal.mean().item())).toBeLessThan(0.04);
    expect(Math.abs(normal.square().mean().item() - 1)).toBeLessThan(0.06);
  });
});

test('info describes this libtorch', () => {
  const facts = torch.info();
  expect(facts.version).toMatch(/^2\.\d+\.\d+/);
  expect(facts.threads).toBeGreaterThanOrEqual(1);
  expect(facts.cuda).toBe(facts.cudaDevices > 0);
  expect(facts.parallel).toContain('ATen parallel backend');
});
