import fc from 'fast-check';
import { expect, test } from 'vitest';
import { DataCursor, MixedCursor, permutation, type CursorState } from './cursor.ts';

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

const mixtures = fc
  .array(fc.record({ size: fc.integer({ min: 0, max: 5 }), weight: fc.integer({ min: 1, max: 9 }) }), {
    minLength: 1,
    maxLength: 5,
  })
  .filter((sets) => sets.some(({ size }) => size > 0));

test('a mixture keeps its shares at every draw, and each set its order', () => {
  fc.assert(
    fc.property(mixtures, fc.nat(), fc.nat(200), (sets, seed, count) => {
      const indices = new MixedCursor(sets, seed).next(count);
      const total = sets.reduce((sum, { size, weight }) => sum + (size > 0 ? weight : 0), 0);
      let start = 0;
      for (const { size, weight } of sets) {
        const own = indices.filter((index) => index >= start && index < start + size);
        if (size > 0) expect(Math.abs(own.length - (count * weight) / total)).toBeLessThan(sets.length);
        for (let i = 0; i + size <= own.length && size > 0; i += size)
          expect(new Set(own.slice(i, i + size)).size).toBe(size);
        start += size;
      }
    }),
  );
});

test('every sample is among the draws of a round, wherever it begins', () => {
  fc.assert(
    fc.property(mixtures, fc.nat(), fc.nat(50), (sets, seed, before) => {
      const size = sets.reduce((sum, own) => sum + own.size, 0);
      for (const cursor of [new MixedCursor(sets, seed), new DataCursor(size, seed)]) {
        cursor.next(before);
        expect(new Set(cursor.next(cursor.round)).size).toBe(size);
      }
    }),
  );
});

test('a mixture made from a state, as JSON keeps it, goes on where the other was', () => {
  fc.assert(
    fc.property(mixtures, fc.nat(), fc.array(fc.integer({ min: 0, max: 9 })), (sets, seed, before) => {
      const first = new MixedCursor(sets, seed);
      for (const count of before) first.next(count);
      const saved = JSON.parse(JSON.stringify(first.state)) as CursorState;
      expect(new MixedCursor(sets, seed, saved).next(30)).toEqual(first.next(30));
    }),
  );
});
