import { expect, test } from 'vitest';

import { live, ones, tensor, type Tensor } from './index.ts';
import { gradcheck } from './testing.ts';

const leaf = (...values: number[]): Tensor => tensor(values, { dtype: 'float64' }).requiresGrad_();

test('a right gradient passes, and the inputs are as they were', () => {
  const [x, y] = [leaf(1, 2, -0.5), leaf(0.5, 3, 1)];
  const { handles } = live();
  gradcheck((a, b) => a.mul(b).exp(), [x, y]);
  expect([x.toArray(), y.toArray()]).toEqual([[1, 2, -0.5], [0.5, 3, 1]]); // prettier-ignore
  expect(live().handles).toBe(handles);
});

test('a gradient that is cut is found', () => {
  expect(() => gradcheck((x) => x.mul(x.detach()), [leaf(1, 2)])).toThrow(
    /^gradient 0 of input 0 is 0\.540\d+, by finite differences 1\.080\d+$/,
  );
});

test('an error that a plain sum would cancel is found', () => {
  // The softmax sums to 1, so the gradient of its sum is 0 whatever its gradient is.
  expect(() => gradcheck((x) => x.softmax(0).detach().add(x.mul(0)), [leaf(1, 2)])).toThrow('by finite differences');
});

test('an input of float32 is refused', () => {
  expect(() => gradcheck((x) => x, [ones([1]).requiresGrad_()])).toThrow('need float64');
});
