import { expect, test } from 'vitest';

import type { RunEvent } from '../run/events.ts';
import { curvesOf } from './curves.ts';
import { comparisonFigures, validationMetrics } from './figures.ts';
import type { Column, Estimate, Estimates } from './statistics.ts';

const stepEvent = (step: number, metrics: Record<string, number>): RunEvent => ({
  type: 'step',
  time: 0,
  step,
  metrics,
  seconds: { rollout: 1, update: 0.5 },
});
const evalEvent = (step: number, metrics: Record<string, number>): RunEvent => ({
  type: 'eval',
  time: 0,
  step,
  metrics,
  n: 1,
});
const column = (group: string, metric: string): Column => ({ name: `${group}.${metric}`, of: [{ group, metric }] });
const average = (columns: readonly Column[]): Column => ({ name: 'average', of: columns.flatMap(({ of }) => of) });

test('of the steps the metrics that are shown are kept, with the seconds until then; evaluations whole', () => {
  const { training, validation } = curvesOf([
    stepEvent(1, { entropy: 0.123456789, loss: 2 }),
    stepEvent(2, { entropy: 0.5, labelActive: 1 }),
    evalEvent(2, { 'far.gIoU': 40, reward: 1 }),
    { type: 'checkpoint', time: 0, step: 2, seconds: 100 },
    stepEvent(3, {}),
    evalEvent(3, { 'far.gIoU': 50, reward: 2 }),
  ]);
  expect(training).toEqual({
    step: [1, 2, 3],
    seconds: [1.5, 3, 4.5],
    metrics: { entropy: [0.12346, 0.5, null], labelActive: [null, 1, null] },
  });
  expect(validation).toEqual({ step: [2, 3], seconds: [3, 4.5], metrics: { 'far.gIoU': [40, 50], reward: [1, 2] } });
});

test('many steps become means of neighbours', () => {
  const { training } = curvesOf(Array.from({ length: 401 }, (_, i) => stepEvent(i + 1, { length: i + 1 })));
  expect(training.step).toHaveLength(134);
  expect(training.step.slice(0, 2)).toEqual([3, 6]);
  expect(training.metrics['length']!.slice(0, 2)).toEqual([2, 5]);
  expect(training.step.at(-1)).toBe(401);
  expect(training.metrics['length']!.at(-1)).toBe(400.5);
});

test('validation data is measured as the columns are, else by the first metric of every set', () => {
  const sets = ['far.gIoU', 'far.nAcc', 'near.gIoU', 'near.nAcc', 'reward'];
  expect(validationMetrics([column('test.far', 'nAcc'), column('skills', 'gIoU')], sets)).toEqual(['far.nAcc']);
  expect(validationMetrics([column('test', 'accuracy')], sets)).toEqual(['far.gIoU', 'near.gIoU']);
  expect(validationMetrics([column('test', 'gIoU')], ['nAcc', 'gIoU', 'reward'])).toEqual(['gIoU']);
  expect(validationMetrics([column('test.far', 'accuracy')], ['gIoU', 'nAcc', 'reward'])).toEqual(['gIoU']);
});

const estimates = (values: Record<string, readonly number[]>, columns: readonly Column[]): Estimates => {
  const estimate = (mean: number): Estimate => ({ mean, low: mean - 2, high: mean + 2 });
  return {
    differences: new Map(),
    values: new Map(
      Object.entries(values).map(([policy, means]) => [
        policy,
        new Map(columns.map(({ name }, i) => [name, estimate(means[i]!)])),
      ]),
    ),
  };
};

test('a figure has a line per run, with the range of its seeds, and what no run has is not drawn', () => {
  const parts = [column('test.far', 'gIoU'), column('test.near', 'gIoU')];
  const columns = [...parts, average(parts)];
  const course = (offset: number) =>
    curvesOf([
      stepEvent(1, { entropy: 1 + offset, reward: NaN }),
      stepEvent(2, { entropy: 0.5 + offset }),
      evalEvent(2, { 'far.gIoU': 40 + offset, 'near.gIoU': 60 }),
    ]);
  const supervised = curvesOf([stepEvent(1, {}), stepEvent(2, {}), evalEvent(2, { 'far.gIoU': 1, 'near.gIoU': 2 })]);
  const figures = comparisonFigures({
    policies: ['baseline', 'sft', 'a<b'],
    columns,
    estimates: estimates({ baseline: [10, 20, 15], sft: [30, 10, 20], 'a<b': [40, NaN, 40] }, columns),
    curves: new Map([
      ['sft', [supervised, supervised]],
      ['a<b', [course(0), course(0.25)]],
    ]),
  });
  expect(figures.map(({ name }) => name)).toEqual(['validation-updates', 'validation-time', 'entropy', 'held-out']);
  const contentOf = (name: string): string => figures.find((each) => each.name === name)!.content;
  expect(contentOf('validation-updates')).toContain('gIoU, mean of 2 sets, %');
  expect(contentOf('validation-time')).toContain('seconds of training');
  expect(contentOf('entropy').match(/class="line"/g)).toHaveLength(1);
  expect(contentOf('entropy').match(/class="band"/g)).toHaveLength(1);
  expect(contentOf('held-out').match(/class="interval"/g)).toHaveLength(8);
  for (const { content } of figures) {
    expect(content).toMatch(/^<svg\s+xmlns="http:\/\/www\.w3\.org\/2000\/svg"/);
    expect(content).toContain('a&lt;b');
    expect(content).not.toMatch(/NaN|Infinity|undefined|a<b/);
  }
});
