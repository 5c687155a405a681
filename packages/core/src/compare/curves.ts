/** What is kept of the course of a training, small enough to be committed with its result. */
import { z } from 'zod';

import type { RunEvent } from '../run/events.ts';

const course = z.strictObject({
  step: z.array(z.int()),
  /** Seconds of training until then, evaluations and checkpoints not counted. */
  seconds: z.array(z.number()),
  /** Values by name; null where a step had none. */
  metrics: z.record(z.string(), z.array(z.number().nullable())),
});

/** Values along the steps of a run. */
export type Course = z.output<typeof course>;

export const curvesSchema = z.strictObject({
  /** Means of some steps where there were many. */
  training: course,
  /** Every evaluation on validation data. */
  validation: course,
  /** Such as that labels take the policy over. */
  warnings: z.array(z.strictObject({ step: z.int(), message: z.string() })),
});
export type Curves = z.output<typeof curvesSchema>;

/** Metrics of training that are kept. */
const KEPT = ['reward', 'entropy', 'length', 'thinking', 'labelActive', 'labelGradient', 'labelLogProb'];
/** Points of a curve, at most. */
const MOST = 200;

interface Row {
  readonly step: number;
  readonly seconds: number;
  readonly metrics: Readonly<Record<string, number | null>>;
}

export function curvesOf(events: readonly RunEvent[]): Curves {
  const [training, validation]: [Row[], Row[]] = [[], []];
  const warnings: Curves['warnings'] = [];
  let seconds = 0;
  for (const event of events) {
    if (event.type === 'step') {
      seconds += Object.values(event.seconds).reduce((a, b) => a + b, 0);
      const kept = Object.entries(event.metrics).filter(([name]) => KEPT.includes(name));
      training.push({ step: event.step, seconds, metrics: Object.fromEntries(kept) });
    } else if (event.type === 'eval') {
      validation.push({ step: event.step, seconds, metrics: event.metrics });
    } else if (event.type === 'warning') {
      warnings.push({ step: event.step, message: event.message });
    }
  }
  return { training: thinned(training), validation: thinned(validation), warnings };
}

/** Neighbours become their mean, at the last of them, until there are few enough. */
function thinned(rows: readonly Row[]): Course {
  const width = Math.ceil(rows.length / MOST);
  const parts = Array.from({ length: width && Math.ceil(rows.length / width) }, (_, i) =>
    rows.slice(i * width, (i + 1) * width),
  );
  const names = [...new Set(rows.flatMap(({ metrics }) => Object.keys(metrics)))];
  const meanOf = (part: readonly Row[], name: string): number | null => {
    const values = part.flatMap(({ metrics }) => metrics[name] ?? []);
    return values.length === 0 ? null : rounded(values.reduce((a, b) => a + b, 0) / values.length);
  };
  return {
    step: parts.map((part) => part.at(-1)!.step),
    seconds: parts.map((part) => rounded(part.at(-1)!.seconds)),
    metrics: Object.fromEntries(names.map((name) => [name, parts.map((part) => meanOf(part, name))])),
  };
}

const rounded = (value: number): number => Number(value.toPrecision(5));
