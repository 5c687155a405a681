import fc from 'fast-check';
import { expect, test } from 'vitest';
import { DataCursor, permutation } from './cursor.ts';

test('every epoch is another permutation', () => {
  const cursor = new DataCursor(50, 3);
  const epochs = [cursor.next(50), cursor.next(50), cursor.next(50)];
  for (const epoch of epochs) expect([...epoch].sort((a, b) => a - b)).toEqual(Array.from({ length: 50 }, (_, i) => i));
  expect(new Set(epochs.map(String)).size).toBe(3);
  expect(new DataCursor(50, 4).next(50)).not.toEqual(epochs[0]);
});

test('a cursor made from a state goes on where the other was', () => {
  const counts = fc.array(fc.integer({ min: 0, max: 9 }));
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 7 }), fc.nat(), counts, (size, seed, before) => {
      const first = new DataCursor(size, seed);
      for (const count of before) first.next(count);
      const second = new DataCursor(size, seed, first.state);
      expect(second.next(20)).toEqual(first.next(20));
    }),
  );
});

test('places are uniform: chi-square of 8 first places over 8,000 seeds', () => {
  const counts = new Array<number>(8).fill(0);
  for (let seed = 0; seed < 8000; seed++) counts[permutation(8, seed, 0)[0]!]!++;
  const statistic = counts.reduce((sum, count) => sum + (count - 1000) ** 2 / 1000, 0);
  expect(statistic).toBeLessThan(24.3); // 0.999 quantile with 7 degrees of freedom
});
