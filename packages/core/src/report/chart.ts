/** A line chart as inline SVG: axes with round ticks, one line per run, noisy runs smoothed over their raw values. */
import type { ReportCurve, ReportSeries } from './data.ts';
import { html, type Html } from './html.ts';
import type { Palette } from './palette.ts';

type Points = ReportSeries['points'];
type Scale = (value: number) => number;

/** Where a drawing is, in units of its view box: the plot is inside the edges. */
export interface Frame {
  readonly width: number;
  readonly height: number;
  readonly edge: { readonly left: number; readonly right: number; readonly top: number; readonly bottom: number };
}

/** A chart of the page; it scales with it. */
const FRAME: Frame = { width: 340, height: 200, edge: { left: 38, right: 10, top: 8, bottom: 26 } };
/** A series with more points than this is noisy (one per training step) and drawn as a moving average. */
const DENSE = 24;

export function chart(curve: ReportCurve, palette: Palette): Html {
  const series = shownSeries(curve);
  const { width, height, edge } = FRAME;
  return html`<figure class="chart">
    <figcaption>
      <h3>${curve.title}</h3>
      <span>${curve.yLabel}</span>
    </figcaption>
    ${
      series.every(({ points }) => points.length === 0)
        ? html`<p class="none">No values yet.</p>`
        : html`<svg viewBox="0 0 ${width} ${height}" role="img" aria-label="${curve.title}">
            <text class="tick" x="${edge.left - 12}" y="${height - edge.bottom + 17}" text-anchor="end">step</text>
            ${lines(series, palette, FRAME)}
          </svg>`
    }
    <ul class="key">
      ${series.map(({ name }) => html`<li class="${palette.of(name)}"><i></i>${name}</li>`)}
    </ul>
  </figure>`;
}

/** Points without what cannot be drawn. */
export const shownSeries = ({ series }: ReportCurve): ReportSeries[] =>
  series.map(({ points, band, ...rest }) => ({
    ...rest,
    points: points.filter((point) => point.every(Number.isFinite)),
    ...(band && { band: band.filter((point) => point.every(Number.isFinite)) }),
  }));

export interface LineOptions {
  /** Ticks of x are whole numbers: steps. */
  readonly whole?: boolean;
  /** Where x begins; unset: at the first point. */
  readonly from?: number;
}

/** Axes, and a line for every series, of which one at least has points. */
export function lines(
  series: readonly ReportSeries[],
  palette: Palette,
  frame: Frame,
  { whole = true, from }: LineOptions = {},
): Html {
  const { width, height, edge } = frame;
  const all = series.flatMap(({ points }) => points);
  const heights = series.flatMap((each) => [each.points, ...edgesOf(each)].flat().map(([, y]) => y));
  const [firstX, lastX] = range([...all.map(([x]) => x), ...(from === undefined ? [] : [from])]);
  const xs = ticks(firstX, lastX, 6).filter(
    (value) => (!whole || Number.isInteger(value)) && value >= firstX && value <= lastX,
  );
  const x = scale(firstX, lastX, edge.left, width - edge.right);
  const { y, axis } = yAxis(heights, frame);
  const bottom = height - edge.bottom;
  return html`${axis}
  ${xs.map(
    (value) =>
      html`<line class="axis" x1="${px(x(value))}" x2="${px(x(value))}" y1="${bottom}" y2="${bottom + 4}" />
        <text class="tick" x="${px(x(value))}" y="${bottom + 17}" text-anchor="middle">${label(value)}</text>`,
  )}
  ${[behind, line].map((draw) =>
    series.map((each) => html`<g class="${palette.of(each.name)}">${draw(each, x, y)}</g>`),
  )}`;
}

/** Round ticks that span the values, with a line across the plot for each; and the scale. */
export function yAxis(values: readonly number[], { width, height, edge }: Frame): { readonly y: Scale; axis: Html } {
  const ys = ticks(...range(values), 5);
  const [low, high] = range([...ys, ...values]);
  const [bottom, right] = [height - edge.bottom, width - edge.right];
  const y = scale(low, high, bottom, edge.top);
  const axis = html`${ys.map(
      (value) =>
        html`<line class="grid" x1="${edge.left}" x2="${right}" y1="${px(y(value))}" y2="${px(y(value))}" />
          <text class="tick" x="${edge.left - 8}" y="${px(y(value) + 4)}" text-anchor="end">${label(value)}</text>`,
    )}<line class="axis" x1="${edge.left}" x2="${right}" y1="${bottom}" y2="${bottom}" />`;
  return { y, axis };
}

const isDense = (points: Points): boolean => points.length > DENSE;
const smooth = (points: Points): Points => (isDense(points) ? movingAverage(points) : points);

/** The lower and the upper edge of a band, as smooth as its line. */
const edgesOf = ({ band = [] }: ReportSeries): readonly [low: Points, high: Points] => [
  smooth(band.map(([x, low]) => [x, low])),
  smooth(band.map(([x, , high]) => [x, high])),
];

const path = (of: Points, x: Scale, y: Scale): string =>
  of.map(([a, b], i) => `${i ? 'L' : 'M'}${px(x(a))} ${px(y(b))}`).join('');

/** The band; else, of a noisy series, its values. No line is hidden by those of another series. */
function behind(series: ReportSeries, x: Scale, y: Scale): Html | undefined {
  const [low, high] = edgesOf(series);
  if (series.band) return html`<path class="band" d="${path([...low, ...high.toReversed()], x, y)}Z" />`;
  return isDense(series.points) ? html`<path class="raw" d="${path(series.points, x, y)}" />` : undefined;
}

function line({ points }: ReportSeries, x: Scale, y: Scale): Html {
  const dots = points.map(([a, b]) => html`<circle cx="${px(x(a))}" cy="${px(y(b))}" r="2.6" />`);
  return html`<path class="line" d="${path(smooth(points), x, y)}" />${isDense(points) ? undefined : dots}`;
}

/** Mean of y over the points at most `half` places away, on both sides as far as there are any. */
export function movingAverage(points: Points, half = Math.max(2, Math.round(points.length / 24))): Points {
  return points.map(([x], i) => {
    const near = points.slice(Math.max(0, i - half), i + half + 1);
    return [x, near.reduce((sum, [, y]) => sum + y, 0) / near.length];
  });
}

/** Round values (1, 2, 2.5 or 5 times a power of ten apart), at most `most` + 1, that span the interval. */
export function ticks(low: number, high: number, most: number): number[] {
  const extent = high - low || Math.abs(high) || 1;
  const power = 10 ** Math.floor(Math.log10(extent / most));
  const step = power * [1, 2, 2.5, 5, 10].find((factor) => factor * power * most >= extent * (1 - 1e-9))!;
  const [first, last] = [Math.floor(low / step + 1e-9), Math.ceil(high / step - 1e-9)];
  return Array.from({ length: last - first + 1 }, (_, i) => Number(((first + i) * step).toPrecision(12)));
}

function range(values: readonly number[]): [low: number, high: number] {
  return [values.reduce((a, b) => Math.min(a, b)), values.reduce((a, b) => Math.max(a, b))];
}

/** Linear, from [low, high] to [from, to]; a single value lies in the middle. */
function scale(low: number, high: number, from: number, to: number): Scale {
  return (value) => (high === low ? (from + to) / 2 : from + ((value - low) / (high - low)) * (to - from));
}

/** A coordinate. */
export const px = (value: number): string => String(Math.round(value * 100) / 100);

function label(value: number): string {
  const size = Math.abs(value);
  return size !== 0 && (size >= 1e5 || size < 1e-3) ? value.toExponential(0) : String(value).replace('-', '\u2212');
}
