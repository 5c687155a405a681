import { expect, test } from 'vitest';

import { DataCursor } from '../data/cursor.ts';
import { NoiseIds } from './groups.ts';

test('prompts of a step have numbers of their own, however few samples there are; the first time it is their place', () => {
  for (const [size, drawn] of [
    [1, 4096],
    [2, 3],
    [7, 500],
    [1000, 3000],
    [100_000, 250_000],
  ] as const) {
    const [cursor, ids] = [new DataCursor(size, 3), new NoiseIds()];
    const places = cursor.next(drawn);
    // In batches, as dynamic sampling draws them.
    const numbers = [0, 1, 2, 3].flatMap((i) => ids.next(places.slice((i * drawn) / 4, ((i + 1) * drawn) / 4)));
    expect(new Set(numbers).size).toBe(drawn);
    expect(numbers.every((each) => Number.isInteger(each) && each >= 0 && each < 2 ** 32)).toBe(true);
    expect(numbers.slice(0, size)).toEqual(places.slice(0, size));
  }
});
