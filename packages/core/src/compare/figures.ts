/** A comparison as figures: how the runs went, and what they know at the end of what the model knew before. */
import { barFigure, figurePalette, lineFigure } from '../report/figure.ts';
import type { ReportBars, ReportCurve, ReportSeries } from '../report/data.ts';
import type { Html } from '../report/html.ts';
import type { Course, Curves } from './curves.ts';
import type { Column, Estimates } from './statistics.ts';

export interface Figure {
  readonly name: string;
  readonly title: string;
  /** SVG. */
  readonly content: string;
}

export interface FigureContent {
  /** The baseline first. */
  readonly policies: readonly string[];
  readonly columns: readonly Column[];
  readonly estimates: Estimates;
  /** Curves by run, of every seed. */
  readonly curves: ReadonlyMap<string, readonly Curves[]>;
}

/** A metric of training, and how it is shown. */
const SHOWN = [
  { key: 'reward', title: 'Reward of rollouts', yLabel: 'mean' },
  { key: 'entropy', title: 'Entropy of rollouts', yLabel: 'nats per token' },
  { key: 'length', title: 'Length of rollouts', yLabel: 'tokens' },
  { key: 'thinking', title: 'Thinking in rollouts', yLabel: '% of its mark', factor: 100 },
  { key: 'labelActive', title: 'Labels that still teach', yLabel: '% of labels', factor: 100 },
  { key: 'labelGradient', title: 'Share of labels in the gradient', yLabel: '% of its size', factor: 100 },
  { key: 'labelLogProb', title: 'Likelihood of labels before the update', yLabel: 'nats per label' },
] as const;

/** Those that there are values for. */
export function comparisonFigures(content: FigureContent): Figure[] {
  const { policies, columns, estimates, curves } = content;
  const palette = figurePalette(policies);
  const figures: Figure[] = [];
  const add = (name: string, { title }: { title: string }, drawn: Html): unknown =>
    figures.push({ name, title, content: drawn.markup });

  const validation = validationCurve(columns, curves, ({ step }) => step);
  if (validation) add('validation-updates', validation, lineFigure(validation, 'updates', palette, { from: 0 }));
  const { unit, seconds } = unitOf(
    [...curves.values()].flat().map(({ validation: { seconds: all } }) => all.at(-1) ?? 0),
  );
  const timed = validationCurve(columns, curves, (each) => each.seconds.map((value) => value / seconds));
  if (timed) {
    const options = { from: 0, whole: false };
    add('validation-time', timed, lineFigure(timed, `${unit} of training`, palette, options));
  }
  for (const { key, ...shown } of SHOWN) {
    const factor = 'factor' in shown ? shown.factor : 1;
    const valuesOf = ({ metrics }: Course) => (metrics[key] ?? []).map((value) => value ?? NaN).map((v) => v * factor);
    const series = seriesOf(
      curves,
      ({ training }) => training,
      valuesOf,
      ({ step }) => step,
    );
    if (series.length > 0) add(key, shown, lineFigure({ ...shown, series }, 'updates', palette, { from: 0 }));
  }
  const bars: ReportBars = {
    title: 'Held-out data: what was learned, and what was kept',
    yLabel: '%, with 95% intervals; dashed: the model before training',
    groups: columns.map(({ name }) => name),
    series: policies.map((name) => ({
      name,
      values: columns.map((column) => estimates.values.get(name)!.get(column.name)!),
    })),
  };
  add('held-out', bars, barFigure(bars, palette));
  return figures;
}

/** The mean of what the columns measure, on validation data; undefined where no run evaluated. */
function validationCurve(
  columns: readonly Column[],
  curves: ReadonlyMap<string, readonly Curves[]>,
  x: (course: Course) => readonly number[],
): ReportCurve | undefined {
  const courses = [...curves.values()].flat().map(({ validation }) => validation);
  const names = validationMetrics(
    columns,
    courses.flatMap(({ metrics }) => Object.keys(metrics)),
  );
  const valuesOf = ({ step, metrics }: Course): number[] =>
    step.map((_, i) => average(names.map((name) => metrics[name]?.[i] ?? NaN)));
  const series = seriesOf(curves, ({ validation }) => validation, valuesOf, x);
  if (series.length === 0) return undefined;
  const kinds = new Set(names.map((name) => name.slice(name.lastIndexOf('.') + 1)));
  const what = kinds.size === 1 ? [...kinds][0]! : 'first metrics';
  return {
    title: 'Validation data',
    yLabel: names.length === 1 ? `${names[0]!}, %` : `${what}, mean of ${names.length} sets, %`,
    series,
  };
}

/** Those that a column measures on held-out data of the same set, else the first one of every set. */
export function validationMetrics(columns: readonly Column[], evaluated: readonly string[]): string[] {
  const all = [...new Set(evaluated)].filter((name) => name !== 'reward');
  const measured = columns.flatMap(({ of }) =>
    // A group is named FILE or FILE.SET, and validation data has metrics named METRIC or SET.METRIC.
    of.map(({ group, metric }) => [...group.split('.').slice(1), metric].join('.')),
  );
  const same = all.filter((name) => measured.includes(name));
  const sets = Map.groupBy(all, (name) => name.slice(0, Math.max(0, name.lastIndexOf('.'))));
  return same.length > 0 ? same : [...sets.values()].map(([first]) => first!);
}

/** One line per run that has values: the mean of its seeds, between the least and the greatest. */
function seriesOf(
  curves: ReadonlyMap<string, readonly Curves[]>,
  courseOf: (curves: Curves) => Course,
  valuesOf: (course: Course) => readonly number[],
  xOf: (course: Course) => readonly number[],
): ReportSeries[] {
  return [...curves].flatMap(([name, seeds]) => {
    const courses = seeds.map(courseOf);
    const [xs, ys] = [courses.map(xOf), courses.map(valuesOf)];
    const rows = courses[0]!.step.flatMap((_, i) => {
      const values = ys.map((own) => own[i] ?? NaN).filter(Number.isFinite);
      return values.length === 0 ? [] : [{ x: average(xs.map((own) => own[i] ?? NaN)), values }];
    });
    if (rows.length === 0) return [];
    const points = rows.map(({ x, values }) => [x, average(values)] as const);
    const band = rows.map(({ x, values }) => [x, Math.min(...values), Math.max(...values)] as const);
    return [{ name, points, ...(seeds.length > 1 && { band }) }];
  });
}

/** The mean of the numbers among them. */
function average(values: readonly number[]): number {
  const finite = values.filter(Number.isFinite);
  return finite.reduce((a, b) => a + b, 0) / finite.length;
}

/** Units in which times are easily read. */
function unitOf(times: readonly number[]): { unit: string; seconds: number } {
  const longest = Math.max(0, ...times);
  if (longest > 3 * 3600) return { unit: 'hours', seconds: 3600 };
  return longest > 300 ? { unit: 'minutes', seconds: 60 } : { unit: 'seconds', seconds: 1 };
}
