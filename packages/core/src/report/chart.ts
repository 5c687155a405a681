/** A line chart as inline SVG: axes with round ticks, one line per run, noisy runs smoothed over their raw values. */
import type { ReportCurve, ReportSeries } from './data.ts';
import { html, type Html } from './html.ts';
import type { Palette } from './palette.ts';

type Points = ReportSeries['points'];
type Scale = (value: number) => number;

/** Units of the view box; the drawing scales with the page. */
const [WIDTH, HEIGHT] = [340, 200];
const EDGE = { left: 38, right: 10, top: 8, bottom: 26 };
/** A series with more points than this is noisy (one per training step) and drawn as a moving average. */
const DENSE = 24;

export function chart(curve: ReportCurve, palette: Palette): Html {
  const series = curve.series.map(({ name, points }) => ({ name, points: points.filter(isFinitePoint) }));
  const all = series.flatMap(({ points }) => points);
  return html`<figure class="chart">
    <figcaption>
      <h3>${curve.title}</h3>
      <span>${curve.yLabel}</span>
    </figcaption>
    ${all.length === 0 ? html`<p class="none">No values yet.</p>` : plot(curve.title, series, all, palette)}
    <ul class="key">
      ${series.map(({ name }) => html`<li class="${palette.of(name)}"><i></i>${name}</li>`)}
    </ul>
  </figure>`;
}

function plot(title: string, series: readonly ReportSeries[], all: Points, palette: Palette): Html {
  const ys = ticks(...range(all.map(([, y]) => y)), 5);
  const [firstX, lastX] = range(all.map(([x]) => x));
  const xs = ticks(firstX, lastX, 6).filter((value) => Number.isInteger(value) && value >= firstX && value <= lastX);
  const [low, high] = range([...ys, ...all.map(([, y]) => y)]);
  const x = scale(firstX, lastX, EDGE.left, WIDTH - EDGE.right);
  const y = scale(low, high, HEIGHT - EDGE.bottom, EDGE.top);
  const bottom = HEIGHT - EDGE.bottom;
  return html`<svg viewBox="0 0 ${WIDTH} ${HEIGHT}" role="img" aria-label="${title}">
    ${ys.map(
      (value) =>
        html`<line
            class="grid"
            x1="${EDGE.left}"
            x2="${WIDTH - EDGE.right}"
            y1="${px(y(value))}"
            y2="${px(y(value))}"
          />
          <text class="tick" x="${EDGE.left - 8}" y="${px(y(value) + 4)}" text-anchor="end">${label(value)}</text>`,
    )}
    ${xs.map(
      (value) =>
        html`<line class="axis" x1="${px(x(value))}" x2="${px(x(value))}" y1="${bottom}" y2="${bottom + 4}" />
          <text class="tick" x="${px(x(value))}" y="${bottom + 17}" text-anchor="middle">${label(value)}</text>`,
    )}
    <line class="axis" x1="${EDGE.left}" x2="${WIDTH - EDGE.right}" y1="${bottom}" y2="${bottom}" />
    <text class="tick" x="${EDGE.left - 12}" y="${bottom + 17}" text-anchor="end">step</text>
    ${series.map(({ name, points }) => html`<g class="${palette.of(name)}">${line(points, x, y)}</g>`)}
  </svg>`;
}

function line(points: Points, x: Scale, y: Scale): Html {
  const path = (of: Points): string => of.map(([a, b], i) => `${i ? 'L' : 'M'}${px(x(a))} ${px(y(b))}`).join('');
  if (points.length > DENSE) {
    return html`<path class="raw" d="${path(points)}" /><path class="line" d="${path(movingAverage(points))}" />`;
  }
  const dots = points.map(([a, b]) => html`<circle cx="${px(x(a))}" cy="${px(y(b))}" r="2.6" />`);
  return html`<path class="line" d="${path(points)}" />${dots}`;
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

const isFinitePoint = ([x, y]: Points[number]): boolean => Number.isFinite(x) && Number.isFinite(y);
const px = (value: number): string => String(Math.round(value * 100) / 100);

function label(value: number): string {
  const size = Math.abs(value);
  return size !== 0 && (size >= 1e5 || size < 1e-3) ? value.toExponential(0) : String(value).replace('-', '\u2212');
}
