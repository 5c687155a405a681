import { expect, test } from 'vitest';

import { microBatches, paddedTokens, type RowSize } from './microbatch.ts';

const row = (prompt: number, responses = 2, tokens = 10): RowSize => ({ prompt, responses, tokens });
const cut = (rows: readonly RowSize[], limits: { prompts: number; tokens?: number }): number[][] =>
  microBatches(rows, (each) => each, limits).map((batch) => batch.map(({ prompt }) => prompt));

test('so many prompts at a time, in order', () => {
  expect(cut([row(9), row(1), row(5), row(2), row(3)], { prompts: 2 })).toEqual([[9, 1], [5, 2], [3]]);
  expect(cut([], { prompts: 2 })).toEqual([]);
});

test('rows of like length go together, within the limit on padded tokens', () => {
  expect(paddedTokens([row(30), row(10, 3, 20)])).toBe(2 * (30 + 3 * 20));
  // Each has 20 tokens of responses: 2 x 120, 3 x 40 = 120 <= 130.
  const rows = [row(10), row(100), row(20), row(100), row(20)];
  expect(cut(rows, { prompts: 8, tokens: 130 })).toEqual([[100], [100], [20, 20, 10]]);
  expect(cut(rows, { prompts: 2, tokens: 130 })).toEqual([[100], [100], [20, 20], [10]]);
  expect(cut(rows, { prompts: 8, tokens: 50 })).toEqual([[100], [100], [20], [20], [10]]);
});
