import { expect, test } from 'vitest';
import { orderOf, SUPERLINEAR } from './growth.ts';

let sum = 0;
const loop = (count: number): void => {
  for (let i = 0; i < count; i++) sum = (sum * 31 + i) % 65_521;
};

test('work that is quadratic is told from work that is linear, or short', () => {
  expect(orderOf((size) => loop(size * 5000), 5000)).toBeLessThan(SUPERLINEAR);
  expect(orderOf((size) => loop(size * size), 5000)).toBeGreaterThan(SUPERLINEAR);
  expect(orderOf((size) => loop(size), 5000)).toBe(0);
});
