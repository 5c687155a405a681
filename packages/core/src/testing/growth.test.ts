import { expect, test } from 'vitest';
import { growth } from './growth.ts';

let sum = 0;
const loop = (count: number): void => {
  for (let i = 0; i < count; i++) sum = (sum + i * i) | 0;
};

test('work that is quadratic is told from work that is linear, or short', () => {
  expect(growth((size) => loop(size * 3000), 3000, 3)).toBeLessThan(3);
  expect(growth((size) => loop(size * size), 3000, 3)).toBeGreaterThan(3);
  expect(growth((size) => loop(size), 3000, 3)).toBe(0);
});
