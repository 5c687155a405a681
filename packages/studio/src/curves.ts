/** Numbers of a run by name, as columns; where there are more than can be drawn, the least and the greatest of each part. */
import type { RunEvent } from '@visurf/core/records';

export interface Curve {
  readonly steps: readonly number[];
  readonly values: readonly number[];
  /** How many there are; more than are given where they were thinned out. */
  readonly total: number;
}

/** `reward`, `eval.gIoU`, `seconds.update`, `memory`, ... */
export type Columns = Map<string, { readonly steps: number[]; readonly values: number[] }>;

/** The columns of some events, after those that are there. */
export function columnsOf(events: readonly RunEvent[], columns: Columns = new Map()): Columns {
  const add = (name: string, step: number, value: unknown): void => {
    if (typeof value !== 'number' || !Number.isFinite(value)) return;
    let column = columns.get(name);
    if (!column) columns.set(name, (column = { steps: [], values: [] }));
    column.steps.push(step);
    column.values.push(value);
  };
  for (const event of events) {
    if (event.type !== 'step' && event.type !== 'eval') continue;
    const prefix = event.type === 'eval' ? 'eval.' : '';
    for (const [name, value] of Object.entries(event.metrics)) add(`${prefix}${name}`, event.step, value);
    if (event.type !== 'step') continue;
    for (const [phase, seconds] of Object.entries(event.seconds)) add(`seconds.${phase}`, event.step, seconds);
    add('memory', event.step, event.memory);
  }
  return columns;
}

/** At most `points` points (an even number): of every part of the curve its least and its greatest value, in their order. */
export function decimate(
  { steps, values }: { steps: readonly number[]; values: readonly number[] },
  points: number,
): Curve {
  const total = values.length;
  if (total <= points) return { steps, values, total };
  const parts = Math.max(1, Math.floor(points / 2));
  const kept: number[] = [];
  for (let part = 0; part < parts; part++) {
    const [from, to] = [Math.floor((part * total) / parts), Math.floor(((part + 1) * total) / parts)];
    let [low, high] = [from, from];
    for (let i = from; i < to; i++) {
      if (values[i]! < values[low]!) low = i;
      if (values[i]! > values[high]!) high = i;
    }
    kept.push(...(low === high ? [low] : [Math.min(low, high), Math.max(low, high)]));
  }
  return { steps: kept.map((i) => steps[i]!), values: kept.map((i) => values[i]!), total };
}
