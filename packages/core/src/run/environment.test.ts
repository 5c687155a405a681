import { expect, test } from 'vitest';

import { environmentChanges } from './environment.ts';

test('a change is one line, which says what was there and what is', () => {
  const before = { node: 'v24', threads: 1, parallel: 'ATen:\n\tthreads : 1\nMKL 2024\n', gone: true };
  const now = { node: 'v24', threads: 2, parallel: 'ATen:\n\tthreads : 2\nMKL 2024\nmore\n' };
  const bits = 'numbers may differ in the last bits';
  expect(environmentChanges(before, now)).toEqual([
    `gone was true, is unset: ${bits}`,
    `parallel was threads : 1, is threads : 2, more: ${bits}`,
    `threads was 1, is 2: ${bits}`,
  ]);
  expect(environmentChanges({ parallel: 'a\nb' }, { parallel: 'a' })).toEqual([
    `parallel was b, is without that: ${bits}`,
  ]);
  expect(environmentChanges(now, now)).toEqual([]);
});
