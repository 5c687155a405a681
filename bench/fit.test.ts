import { expect, test } from 'vitest';
import { evaluate, fitPolynomial } from './fit.ts';

test('points of a polynomial give it back', () => {
  const [a, b, c] = fitPolynomial([1, 2, 4, 8], [3 - 2 + 5, 3 - 4 + 20, 3 - 8 + 80, 3 - 16 + 320], 2);
  expect(a).toBeCloseTo(3);
  expect(b).toBeCloseTo(-2);
  expect(c).toBeCloseTo(5);
  expect(evaluate([3, -2, 5], 2)).toBe(19);
});

test('errors count relative to the value', () => {
  // A constant c for 1 and 3 minimises (c - 1)^2 + (c / 3 - 1)^2.
  expect(fitPolynomial([0, 1], [1, 3], 0)[0]).toBeCloseTo((1 + 1 / 3) / (1 + 1 / 9));
});
