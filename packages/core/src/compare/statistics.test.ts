import { expect, test } from 'vitest';

import type { Evaluation } from '../tasks/task.ts';
import { estimate, holm, quantile, type Column, type PolicyEvaluations, type SampleGroup } from './statistics.ts';

const accuracy = (evaluations: readonly Evaluation[]): Record<string, number> => ({
  accuracy: (100 * evaluations.filter(({ right }) => right).length) / evaluations.length,
});
const group = (name: string, size: number): SampleGroup => ({ name, size, metrics: accuracy });
const right = (shares: readonly number[], size: number): PolicyEvaluations =>
  shares.map((share) => [Array.from({ length: size }, (_, i) => ({ right: i < Math.round(share * size) }))]);
const column: Column = { name: 'accuracy', of: [{ group: 'test', metric: 'accuracy' }] };

test('the interval of a share of n samples is that of the binomial', () => {
  const policies = new Map([['only', right([0.5], 400)]]);
  const { values } = estimate(policies, [group('test', 400)], [column], { seeds: 1, reference: 'only' });
  const { mean, low, high } = values.get('only')!.get('accuracy')!;
  expect(mean).toBe(50);
  // 1.96 sqrt(p q / n) = 4.9
  expect(low).toBeCloseTo(45.1, 0);
  expect(high).toBeCloseTo(54.9, 0);
});

test('seeds that differ widen it', () => {
  const of = (shares: readonly number[]) =>
    estimate(new Map([['only', right(shares, 400)]]), [group('test', 400)], [column], {
      seeds: shares.length,
      reference: 'only',
    })
      .values.get('only')!
      .get('accuracy')!;
  const [same, different] = [of([0.5, 0.5, 0.5, 0.5]), of([0.2, 0.4, 0.6, 0.8])];
  expect(different.mean).toBeCloseTo(same.mean);
  expect(different.high - different.low).toBeGreaterThan(1.5 * (same.high - same.low));
});

test('differences are paired: two policies that fail on the same samples differ for certain', () => {
  const size = 200;
  const worse = right([0.5], size);
  const better = right([0.55], size);
  const policies = new Map([
    ['base', worse],
    ['ours', better],
    ['same', better],
  ]);
  const { differences, values } = estimate(policies, [group('test', size)], [column], { seeds: 3, reference: 'ours' });
  const { mean, low, p, corrected } = differences.get('base')!.get('accuracy')!;
  expect(mean).toBeCloseTo(5);
  expect(low).toBeGreaterThan(1);
  // Their own intervals overlap widely.
  expect(values.get('base')!.get('accuracy')!.high).toBeGreaterThan(values.get('ours')!.get('accuracy')!.low + 5);
  expect(p).toBeLessThan(0.01);
  expect(corrected).toBeCloseTo(2 * p);
  expect(differences.get('same')!.get('accuracy')).toMatchObject({ mean: 0, p: 1, corrected: 1 });
});

test('a column may be the mean of several, and what is undefined is left out', () => {
  const groups: SampleGroup[] = [
    group('test', 4),
    { name: 'rare', size: 2, metrics: (all) => (all.some(({ rare }) => rare) ? { recall: 80 } : {}) },
  ];
  const seed = [right([0.5], 4)[0]![0]!, [{ rare: true }, { rare: false }]];
  const columns: Column[] = [
    { name: 'average', of: [...column.of, { group: 'rare', metric: 'recall' }] },
    { name: 'recall', of: [{ group: 'rare', metric: 'recall' }] },
  ];
  const { values } = estimate(new Map([['only', [seed]]]), groups, columns, { seeds: 1, reference: 'only' });
  expect(values.get('only')!.get('average')!.mean).toBe(65);
  expect(values.get('only')!.get('recall')).toEqual({ mean: 80, low: 80, high: 80 });
});

test("Holm's correction, by hand", () => {
  expect(holm([0.01, 0.04, 0.03])).toEqual([0.03, 0.06, 0.06]);
  expect(holm([0.6, 0.5])).toEqual([1, 1]);
  expect(quantile([0, 10, 20, 30, 40], 0.5)).toBe(20);
  expect(quantile([0, 10], 0.25)).toBe(2.5);
});
