/** How the cost of a step grows: what was measured, beside the counted operations and the form that growth must have. */
import { evaluate, fitPolynomial } from '../fit.ts';
import { summary } from '../statistics.ts';
import type { Point, ScalingResult, Series } from './result.ts';
import { number, percent, table } from './text.ts';
import { verdict } from './verdict.ts';

/** Degree of the polynomial that the cost must follow, and its variable. */
const forms: Record<Series['varied'], { readonly degree: number; readonly variable: string }> = {
  group: { degree: 1, variable: 'G' },
  'image tokens': { degree: 2, variable: 'L' },
  'response tokens': { degree: 2, variable: 'T' },
  prompts: { degree: 1, variable: 'B' },
};

const seconds = (point: Point): number => summary(point.seconds).median;

/** step(G = 32) / step(G = 8) of a series over groups. */
export function growthOf({ points }: Series): number | undefined {
  const [small, large] = [8, 32].map((at) => points.find((point) => point.at === at));
  return small && large && seconds(large) / seconds(small);
}

function fitted({ varied, points }: Series): string {
  const { degree, variable } = forms[varied];
  if (points.length < degree + 2) return '';
  const xs = points.map(({ at }) => at);
  const coefficients = fitPolynomial(xs, points.map(seconds), degree);
  const worst = Math.max(...points.map((point) => Math.abs(evaluate(coefficients, point.at) / seconds(point) - 1)));
  const term = (value: number, power: number): string =>
    `${value < 0 ? '-' : '+'} ${number(Math.abs(value))}${['', ` ${variable}`, ` ${variable}^2`][power]}`;
  const formula = coefficients.map(term).join(' ').replace(/^\+ /, '');
  return `Fit: ${formula} seconds; the points are within ${percent(worst)} of it.`;
}

function renderSeries(series: Series): string {
  const { program, varied, model, points } = series;
  const [first] = points;
  if (!first) return '';
  const rows = points.map((point) => [
    String(point.at),
    number(seconds(point)),
    number(seconds(point) / seconds(first)),
    number(point.operations / first.operations),
    number(point.operations / seconds(point) / 1e9),
    number(point.peakMb),
  ]);
  const title = `**${program}, model (${model}): ${varied}**`;
  const head = [varied, 's', 'of the first', 'operations, of the first', '10^9 useful operations/s', 'peak MB'];
  return [title, table(head, rows), fitted(series)].filter(Boolean).join('\n\n');
}

function renderGrowth(series: readonly Series[]): string {
  const rows = series.flatMap((each) => {
    const ratio = each.varied === 'group' ? growthOf(each) : undefined;
    if (ratio === undefined) return [];
    const said = each.program === 'TRL' ? '' : verdict('lower', ratio, 2);
    return [[each.program, `(${each.model})`, number(ratio), said]];
  });
  return table(['program', 'model', 'step(G = 32) / step(G = 8)', 'at most 2.0'], rows);
}

export const renderScaling = ({ series }: ScalingResult): string =>
  [renderGrowth(series), ...series.map(renderSeries)].join('\n\n');
