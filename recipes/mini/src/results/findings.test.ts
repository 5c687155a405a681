import { expect, test } from 'vitest';

import { renderFindings, verdictOf } from './findings.ts';

test('an interval on one side of 0 decides, one that holds 0 does not', () => {
  expect(verdictOf({ low: 1, high: 3, corrected: 0.01 }, 'better')).toBe('holds');
  expect(verdictOf({ low: -3, high: -1, corrected: 0.01 }, 'better')).toBe('does not hold');
  expect(verdictOf({ low: -1, high: 3, corrected: 0.01 }, 'better')).toBe('open');
  expect(verdictOf({ low: -3, high: -1, corrected: 0.01 }, 'worse')).toBe('holds');
  expect(verdictOf({ low: 1, high: 3, corrected: 0.01 }, 'worse')).toBe('does not hold');
  expect(verdictOf({ low: 1, high: 3, corrected: 0.2 }, 'better')).toBe('open');
});

test('a finding says the means, the difference and its p-value', () => {
  const of = (mean: number) => new Map([['average', { mean, low: mean, high: mean }]]);
  const difference = { mean: 10, low: 8.04, high: 12, p: 0.0005, corrected: 0.0005 };
  const estimates = {
    values: new Map([
      ['sft', of(50)],
      ['visurf', of(60)],
    ]),
    differences: new Map([['sft', new Map([['average', difference]])]]),
  };
  const compared = { estimates, reference: 'visurf' } as unknown as Parameters<typeof renderFindings>[1];
  const claim = { text: 'It is better.', column: 'average', against: ['sft'], expected: 'better' } as const;
  expect(renderFindings([claim], compared)).toBe(
    '- *It is better.* (average)\n' +
      '  - sft: **holds**; visurf 60.0, sft 50.0, difference 10.0 [8.0, 12.0], p < 0.001',
  );
});
