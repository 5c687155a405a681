import { expect, test } from 'vitest';
import { UserError } from '../errors.ts';
import { checkAggregate, tokenWeight } from './aggregate.ts';

const response = { tokens: 5, members: 9 };
const totals = { prompts: 4, tokens: 700 };

test('weight of a token', () => {
  expect(tokenWeight({ tokens: 'sum', over: 'sequence' }, response, totals)).toBe(1 / 36);
  expect(tokenWeight({ tokens: 'sum', over: 'sequence', normalizer: 18 }, response, totals)).toBe(1 / (18 * 36));
  expect(tokenWeight({ tokens: 'mean', over: 'sequence' }, response, totals)).toBe(1 / (5 * 36));
  expect(tokenWeight({ tokens: 'mean', over: 'batch' }, response, totals)).toBe(1 / 700);
});

test('combinations that mean nothing are refused', () => {
  const check = (aggregate: Parameters<typeof checkAggregate>[0]) => () => {
    checkAggregate(aggregate, 'objective.aggregate');
  };
  expect(check({ tokens: 'sum', over: 'batch' })).toThrow(UserError);
  expect(check({ tokens: 'sum', over: 'batch' })).toThrow('objective.aggregate');
  expect(check({ tokens: 'mean', over: 'batch', normalizer: 2 })).toThrow('normalizer');
  expect(check({ tokens: 'sum', over: 'sequence', normalizer: 0 })).toThrow('positive');
  expect(check({ tokens: 'sum', over: 'sequence', normalizer: 18 })).not.toThrow();
});
