/** Every method of Tensor against numbers worked out by hand. x is [[1, 2, 3], [4, 5, 6]], v is [3, 1, 2]. */
import { expect, test } from 'vitest';

import { arange, full, ones, Tensor, tensor, zeros } from './index.ts';

const x = tensor([
  [1, 2, 3],
  [4, 5, 6],
]);
const v = tensor([3, 1, 2]);
const i64 = (...values: number[]): Tensor => tensor(values, { dtype: 'int64' });
const mask = tensor([true, false, true]);
const e = Math.E;
const cube = arange(0, 8, 1, { dtype: 'float32' }).view(2, 2, 2);

type Result = Tensor | Tensor[];
/** Method, call, the shape of the (first) result, the elements of all results. */
const table: readonly [string, () => Result, number[], number[]][] = [
  ['matmul', () => x.matmul(v), [2], [11, 29]],
  ['mm', () => x.mm(x.t()), [2, 2], [14, 32, 32, 77]],
  ['bmm', () => cube.bmm(cube), [2, 2, 2], [2, 3, 6, 11, 46, 55, 66, 79]],
  ['addmm', () => ones([2, 2]).addmm(x, x.t(), 10, 2), [2, 2], [38, 74, 74, 164]],
  ['baddbmm', () => ones([2, 2, 2]).baddbmm(cube, cube, 1, -1), [2, 2, 2], [-1, -2, -5, -10, -45, -54, -65, -78]],

  ['t', () => x.t(), [3, 2], [1, 4, 2, 5, 3, 6]],
  ['transpose', () => cube.transpose(0, 2), [2, 2, 2], [0, 4, 2, 6, 1, 5, 3, 7]],
  ['permute', () => cube.permute(1, 2, 0), [2, 2, 2], [0, 4, 1, 5, 2, 6, 3, 7]],
  ['view', () => x.view(3, -1), [3, 2], [1, 2, 3, 4, 5, 6]],
  ['viewAs', () => tensor([1]).viewAs('int32'), [1], [0x3f800000]],
  ['reshape', () => x.t().reshape(6), [6], [1, 4, 2, 5, 3, 6]],
  ['unsqueeze', () => v.unsqueeze(-1), [3, 1], [3, 1, 2]],
  ['squeeze', () => v.view(1, 3, 1).squeeze(0), [3, 1], [3, 1, 2]],
  ['expand', () => v.expand(2, -1), [2, 3], [3, 1, 2, 3, 1, 2]],
  ['contiguous', () => x.t().contiguous().view(-1), [6], [1, 4, 2, 5, 3, 6]],
  ['repeatInterleave', () => v.repeatInterleave(2, 0), [6], [3, 3, 1, 1, 2, 2]],
  ['flip', () => x.flip(0, 1), [2, 3], [6, 5, 4, 3, 2, 1]],
  ['triu', () => x.triu(1), [2, 3], [0, 2, 3, 0, 0, 6]],

  ['roll', () => v.roll(1, 0), [3], [2, 3, 1]],

  ['narrow', () => x.narrow(1, 1, 2), [2, 2], [2, 3, 5, 6]],
  ['select', () => x.select(0, -1), [3], [4, 5, 6]],
  ['slice', () => x.slice(1, 0, undefined, 2), [2, 2], [1, 3, 4, 6]],
  ['index', () => x.index([i64(1, 0), i64(2, 0)]), [2], [6, 1]],
  ['indexSelect', () => x.indexSelect(1, i64(2, 2, 0)), [2, 3], [3, 3, 1, 6, 6, 4]],
  ['gather', () => x.gather(1, i64(2, 0).view(2, 1)), [2, 1], [3, 4]],
  ['split', () => x.split([1, 2], 1), [2, 1], [1, 4, 2, 3, 5, 6]],
  ['unbind', () => x.unbind(1), [2], [1, 4, 2, 5, 3, 6]],
  ['indexAdd', () => v.indexAdd(0, i64(1, 1), tensor([9, 1])), [3], [3, 11, 2]],
  ['indexCopy', () => v.indexCopy(0, i64(1), tensor([9])), [3], [3, 9, 2]],
  ['searchsorted', () => tensor([1, 3, 3, 5]).searchsorted(tensor([3, 6]), true), [2], [3, 4]],

  ['sum', () => x.sum(), [], [21]],
  ['sum', () => x.sum([0, 1], true), [1, 1], [21]],
  ['mean', () => x.mean(), [], [3.5]],
  ['mean', () => x.mean(-1), [2], [2, 5]],
  ['max', () => x.max(), [], [6]],
  ['min', () => x.min(), [], [1]],
  ['maxAlong', () => x.maxAlong(0, true), [1, 3], [4, 5, 6, 1, 1, 1]],
  ['argmax', () => v.argmax(0), [], [0]],
  ['any', () => mask.any(), [], [1]],
  ['all', () => mask.all(), [], [0]],
  ['norm', () => tensor([[3], [4]]).norm(), [], [5]],
  ['logsumexp', () => zeros([2, 4]).logsumexp(1), [2], [Math.log(4), Math.log(4)]],
  ['cumsum', () => x.cumsum(1), [2, 3], [1, 3, 6, 4, 9, 15]],
  ['topk', () => v.topk(2), [2], [3, 2, 0, 2]],
  ['sort', () => v.sort(), [3], [1, 2, 3, 1, 2, 0]],
  ['sort', () => v.sort(0, true), [3], [3, 2, 1, 0, 2, 1]],

  ['softmax', () => tensor([0, Math.log(3)]).softmax(0), [2], [0.25, 0.75]],
  ['logSoftmax', () => tensor([0, Math.log(3)]).logSoftmax(0), [2], [Math.log(0.25), Math.log(0.75)]],
  ['gelu', () => tensor([0, 100, -100]).gelu(), [3], [0, 100, 0]],
  // x/2 (1 + erf(x / sqrt 2)) and its tanh form at 1
  ['gelu', () => tensor([1]).gelu(), [1], [0.841344746]],
  ['gelu', () => tensor([1]).gelu('tanh'), [1], [0.841191991]],
  ['pow', () => v.pow(3), [3], [27, 1, 8]],
  ['clamp', () => v.clamp(1.5), [3], [3, 1.5, 2]],
  ['clamp', () => v.clamp(undefined, 2), [3], [2, 1, 2]],
  ['isfinite', () => tensor([1, NaN, -Infinity]).isfinite(), [3], [1, 0, 0]],
  ['where', () => v.where(mask, zeros([3])), [3], [3, 0, 2]],
  ['maskedFill', () => v.maskedFill(mask, -1e30), [3], [Math.fround(-1e30), 1, Math.fround(-1e30)]],
  ['logicalAnd', () => mask.logicalAnd(tensor([true, true, false])), [3], [1, 0, 0]],
  ['addcmul', () => ones([3]).addcmul(v, v, 0.5), [3], [5.5, 1.5, 3]],
  ['clone', () => v.clone(), [3], [3, 1, 2]],
  ['detach', () => v.detach(), [3], [3, 1, 2]],
  ['to', () => tensor([1.9, -1.9]).to('int64'), [2], [1, -1]],
  ['to', () => v.to({ device: 'cpu', dtype: 'float64' }), [3], [3, 1, 2]],

  ['neg', () => v.neg(), [3], [-3, -1, -2]],
  ['abs', () => v.neg().abs(), [3], [3, 1, 2]],
  ['exp', () => tensor([0, 1]).exp(), [2], [1, e]],
  ['log', () => tensor([1, e]).log(), [2], [0, 1]],
  ['sqrt', () => tensor([4, 9]).sqrt(), [2], [2, 3]],
  ['rsqrt', () => tensor([4, 16]).rsqrt(), [2], [0.5, 0.25]],
  ['square', () => v.square(), [3], [9, 1, 4]],
  ['sin', () => tensor([0, Math.PI / 2]).sin(), [2], [0, 1]],
  ['cos', () => tensor([0, Math.PI]).cos(), [2], [1, -1]],
  ['tanh', () => tensor([0, Math.log(3) / 2]).tanh(), [2], [0, 0.5]],
  ['sigmoid', () => tensor([0, Math.log(3)]).sigmoid(), [2], [0.5, 0.75]],
  ['silu', () => tensor([0, Math.log(3)]).silu(), [2], [0, 0.75 * Math.log(3)]],
  ['relu', () => tensor([-1, 2]).relu(), [2], [0, 2]],
  ['round', () => tensor([0.5, 1.5, -1.2]).round(), [3], [0, 2, -1]],
  ['logicalNot', () => mask.logicalNot(), [3], [0, 1, 0]],

  ['add', () => x.add(v), [2, 3], [4, 3, 5, 7, 6, 8]],
  ['add', () => v.add(0.5), [3], [3.5, 1.5, 2.5]],
  ['sub', () => x.sub(v), [2, 3], [-2, 1, 1, 1, 4, 4]],
  ['sub', () => v.sub(1), [3], [2, 0, 1]],
  ['mul', () => v.mul(v), [3], [9, 1, 4]],
  ['mul', () => v.mul(2), [3], [6, 2, 4]],
  ['div', () => v.div(v), [3], [1, 1, 1]],
  ['div', () => i64(3, 1).div(2), [2], [1.5, 0.5]],
  ['eq', () => v.eq(tensor([3, 2, 2])), [3], [1, 0, 1]],
  ['eq', () => v.eq(1), [3], [0, 1, 0]],
  ['ne', () => v.ne(1), [3], [1, 0, 1]],
  ['lt', () => v.lt(2), [3], [0, 1, 0]],
  ['le', () => v.le(2), [3], [0, 1, 1]],
  ['gt', () => v.gt(2), [3], [1, 0, 0]],
  ['ge', () => v.ge(2), [3], [1, 0, 1]],

  ['copy_', () => zeros([3]).copy_(i64(1, 2, 3)), [3], [1, 2, 3]],
  ['zero_', () => ones([2]).zero_(), [2], [0, 0]],
  ['fill_', () => zeros([2]).fill_(2.5), [2], [2.5, 2.5]],
  ['normal_', () => zeros([2]).normal_(7, 0), [2], [7, 7]],
  ['uniform_', () => zeros([2]).uniform_(7, 7), [2], [7, 7]],
  ['addcmul_', () => ones([3]).addcmul_(v, v, 0.5), [3], [5.5, 1.5, 3]],
  ['indexCopy_', () => zeros([3]).indexCopy_(0, i64(2, 0), tensor([7, 8])), [3], [8, 0, 7]],
  ['indexAdd_', () => ones([3]).indexAdd_(0, i64(1, 1), tensor([7, 8])), [3], [1, 16, 1]],
  ['scatterAdd_', () => ones([3]).scatterAdd_(0, i64(1, 1), tensor([7, 8])), [3], [1, 16, 1]],
  ['add_', () => ones([3]).add_(v, 2), [3], [7, 3, 5]],
  ['add_', () => ones([2]).add_(0.5), [2], [1.5, 1.5]],
  ['sub_', () => ones([3]).sub_(v, 2), [3], [-5, -1, -3]],
  ['mul_', () => full([3], 2).mul_(v), [3], [6, 2, 4]],
  ['div_', () => full([2], 2).div_(4), [2], [0.5, 0.5]],
];

test.each(table)('%s', (_, run, shape, expected) => {
  const results = [run()].flat();
  expect(results[0]?.shape).toEqual(shape);
  const elements = results.flatMap((each) => each.toArray());
  expect(elements).toHaveLength(expected.length);
  elements.forEach((value, i) => {
    const wanted = expected[i] ?? NaN;
    expect(Math.abs(value - wanted)).toBeLessThanOrEqual(3e-7 * Math.max(1, Math.abs(wanted)));
  });
});

test('the table has every method that calls an operator', () => {
  const elsewhere = [
    ...['constructor', 'size', 'item', 'toFloat64Array', 'toArray', 'toTypedArray', 'toFloat32Array', 'toString'],
    ...['dispose', 'release', 'requiresGrad_', 'backward', 'move_'],
  ];
  const described = Object.entries(Object.getOwnPropertyDescriptors(Tensor.prototype));
  const methods = described.filter(([, { value }]) => typeof value === 'function').map(([name]) => name);
  const covered = new Set([...table.map(([name]) => name), ...elsewhere]);
  expect(methods.filter((name) => !covered.has(name))).toEqual([]);
});

test('what works in place returns the same tensor', () => {
  const y = zeros([2]);
  expect(y.add_(1).mul_(3).fill_(2)).toBe(y);
  expect(y.toArray()).toEqual([2, 2]);
});

test('a view shares memory, a clone does not', () => {
  const base = zeros([4]);
  const [view, copy] = [base.view(2, 2), base.clone()];
  base.fill_(1);
  expect([view.sum().item(), copy.sum().item()]).toEqual([4, 0]);
});

test('shape, size, numel, dtype, device', () => {
  expect([x.shape, x.size(-1), x.numel, x.dtype, x.device]).toEqual([[2, 3], 3, 6, 'float32', 'cpu']);
  expect(() => x.size(2)).toThrow('no dimension 2 in a tensor of shape [2, 3]');
  expect(() => x.item()).toThrow('a Tensor with 6 elements cannot be converted to Scalar');
});
