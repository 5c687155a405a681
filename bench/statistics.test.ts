import { expect, test } from 'vitest';
import { medianInterval, ratios, summary } from './statistics.ts';

test('the median of an even number of values lies between the middle two', () => {
  expect(summary([4, 1, 3, 2])).toEqual({ median: 2.5, low: 1, high: 4 });
  expect(summary([5])).toEqual({ median: 5, low: 5, high: 5 });
});

test('ratios are taken pair by pair: a slow moment of the machine hits both', () => {
  expect(ratios([4, 40], [1, 10])).toEqual({ median: 4, low: 4, high: 4 });
});

test('the median of twelve lies between the third and the tenth, with 96%', () => {
  const twelve = Array.from({ length: 12 }, (_, i) => 12 - i);
  expect(medianInterval(twelve)).toEqual([3, 10]);
  // Six: the least and the greatest; five say nothing.
  expect(medianInterval([1, 2, 3, 4, 5, 6])).toEqual([1, 6]);
  expect(() => medianInterval([1, 2, 3, 4, 5])).toThrow('nothing with 95%');
});
