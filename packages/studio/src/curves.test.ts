import fc from 'fast-check';
import { expect, test } from 'vitest';
import { columnsOf, decimate } from './curves.ts';
import { startEvent, stepEvent } from './testkit.ts';

test('numbers by name, those of evaluations and phases apart', () => {
  const columns = columnsOf([
    startEvent(),
    stepEvent(1),
    { type: 'eval', step: 1, time: 1, n: 2, metrics: { gIoU: 30 } },
    stepEvent(2, { kl: NaN }),
  ]);
  expect(columns.get('reward')).toEqual({ steps: [1, 2], values: [0.1, 0.2] });
  expect(columns.get('eval.gIoU')).toEqual({ steps: [1], values: [30] });
  expect(columns.get('seconds.rollout')?.values).toEqual([0.5, 0.5]);
  expect(columns.get('memory')?.values).toEqual([1e8, 1e8]);
  expect(columns.has('kl')).toBe(false);
});

test('events that come later are added to the columns of those before', () => {
  const events = [stepEvent(1), stepEvent(2, { kl: 1 }), stepEvent(3)];
  expect(columnsOf(events.slice(1), columnsOf(events.slice(0, 1)))).toEqual(columnsOf(events));
});

test('thinned curves keep the least and the greatest value, and the order of steps', () => {
  fc.assert(
    fc.property(
      fc.array(fc.double({ noNaN: true, min: -1e9, max: 1e9 }), { minLength: 1, maxLength: 3000 }),
      fc.integer({ min: 4, max: 200 }),
      (values, points) => {
        const steps = values.map((_, i) => i + 1);
        const thin = decimate({ steps, values }, points);
        expect(thin.total).toBe(values.length);
        expect(thin.values.length).toBeLessThanOrEqual(Math.max(points, 2));
        expect(Math.max(...thin.values)).toBe(Math.max(...values));
        expect(Math.min(...thin.values)).toBe(Math.min(...values));
        expect(thin.steps).toEqual(thin.steps.toSorted((a, b) => a - b));
        thin.steps.forEach((step, i) => expect(thin.values[i]).toBe(values[step - 1]));
      },
    ),
  );
});
