import { expect, test } from 'vitest';
import { tokenWeight } from './aggregate.ts';

const response = { tokens: 5, members: 9 };
const totals = { prompts: 4, tokens: 700 };

test('weight of a token', () => {
  expect(tokenWeight({ tokens: 'sum', over: 'sequence' }, response, totals)).toBe(1 / 36);
  expect(tokenWeight({ tokens: 'sum', over: 'sequence', normalizer: 18 }, response, totals)).toBe(1 / (18 * 36));
  expect(tokenWeight({ tokens: 'mean', over: 'sequence' }, response, totals)).toBe(1 / (5 * 36));
  expect(tokenWeight({ tokens: 'mean', over: 'batch' }, response, totals)).toBe(1 / 700);
});
