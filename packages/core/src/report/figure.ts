/** Charts as SVG files that need nothing else, light as paper: lines over steps or time, bars with intervals. */
import { lines, px, shownSeries, yAxis, type Frame, type LineOptions } from './chart.ts';
import type { ReportBars, ReportCurve } from './data.ts';
import { html, trusted, type Html } from './html.ts';
import { Palette } from './palette.ts';

/** Colours of series by order; the first is for what the others are compared to. */
const COLORS = [
  ...['#87909e', '#dd7a1c', '#3d7ff0', '#199b76', '#9a5fe0'],
  ...['#d4478f', '#8a6d1f', '#14a3b8', '#b03a2e', '#2f4b7c'],
];

const style = trusted(
  'text { font: 12px system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; fill: #4d565e } ' +
    '.title { font-size: 16px; font-weight: 600; fill: #1c2024 } .key { font-size: 13px; fill: #1c2024 } ' +
    '.grid { stroke: #ececea } .axis { stroke: #c9ccc8 } .interval { stroke: #1c2024; stroke-width: 1.2 } ' +
    '.level { stroke: #87909e; stroke-dasharray: 3 3 } .raw, .line { fill: none; stroke-linejoin: round } ' +
    '.line { stroke-width: 2; stroke-linecap: round } .raw { opacity: .25 } .band { opacity: .14 } ' +
    COLORS.map(
      (color, i) =>
        `.c${i} path { stroke: ${color} } .c${i} circle, .c${i} rect, .c${i} .band { fill: ${color} } .c${i} .band { stroke: none }`,
    ).join(' '),
);

/** Colours of figures that show some of the same names. */
export const figurePalette = (names: Iterable<string>): Palette => new Palette(names, COLORS.length);

/** Width of a text of 13 px, at most for most fonts. */
const textWidth = (text: string): number => 7.2 * text.length;

/** @param xLabel what x is, with its unit */
export function lineFigure(curve: ReportCurve, xLabel: string, palette: Palette, options?: LineOptions): Html {
  const series = shownSeries(curve);
  const width = 720;
  const key = legend(
    series.map(({ name }) => name),
    palette,
    width,
  );
  const top = 72 + key.height;
  const frame: Frame = { width, height: top + 330, edge: { left: 62, right: 22, top, bottom: 54 } };
  const axis = html`<text x="${px((width + 40) / 2)}" y="${frame.height - 14}" text-anchor="middle">${xLabel}</text>`;
  return figure(curve, frame, html`${key.drawn}${lines(series, palette, frame, options)}${axis}`);
}

/** Groups of bars; a dashed line across a group shows the level of its first bar. */
export function barFigure(bars: ReportBars, palette: Palette): Html {
  const names = bars.series.map(({ name }) => name);
  const headings = bars.groups.map((name) => name.split('.'));
  const [bar, gap] = [18, 26];
  const group = Math.max(names.length * bar, ...headings.flat().map((part) => textWidth(part))) + gap;
  const left = 62;
  const width = Math.max(720, Math.ceil(left + group * headings.length + 22));
  const key = legend(names, palette, width);
  const top = 72 + key.height;
  const bottom = 22 + 15 * Math.max(...headings.map((parts) => parts.length));
  const frame: Frame = { width, height: top + 280 + bottom, edge: { left, right: 22, top, bottom } };
  const values = bars.series.flatMap((each) => each.values.flatMap(({ mean, low, high }) => [mean, low, high]));
  const { y, axis } = yAxis([0, ...values.filter(Number.isFinite)], frame);
  const step = (width - left - 22) / headings.length;
  const drawn = headings.map((parts, g) => {
    const middle = left + (g + 0.5) * step;
    const start = middle - (names.length * bar) / 2;
    const level = bars.series[0]?.values[g]?.mean ?? NaN;
    const text = parts.map(
      (part, i) =>
        html`<text x="${px(middle)}" y="${frame.height - bottom + 18 + 15 * i}" text-anchor="middle">${part}</text>`,
    );
    const across = Number.isFinite(level)
      ? html`<line
          class="level"
          x1="${px(start)}"
          x2="${px(start + names.length * bar)}"
          y1="${px(y(level))}"
          y2="${px(y(level))}"
        />`
      : undefined;
    const own = bars.series.map(({ name, values: of }, s) => {
      const value = of[g];
      if (!value || !Number.isFinite(value.mean)) return undefined;
      const [above, below] = [Math.max(0, value.mean), Math.min(0, value.mean)];
      const at = start + s * bar;
      return html`<g class="${palette.of(name)}">
        <rect x="${px(at + 2)}" y="${px(y(above))}" width="${bar - 4}" height="${px(y(below) - y(above))}" rx="1.5">
          <title>${name}: ${value.mean.toFixed(1)} [${value.low.toFixed(1)}, ${value.high.toFixed(1)}]</title>
        </rect>
        <line
          class="interval"
          x1="${px(at + bar / 2)}"
          x2="${px(at + bar / 2)}"
          y1="${px(y(value.low))}"
          y2="${px(y(value.high))}"
        />
      </g>`;
    });
    return html`${own}${across}${text}`;
  });
  return figure(bars, frame, html`${key.drawn}${axis}${drawn}`);
}

function figure(
  { title, yLabel }: Pick<ReportCurve, 'title' | 'yLabel'>,
  { width, height, edge }: Frame,
  body: Html,
): Html {
  return html`<svg
    xmlns="http://www.w3.org/2000/svg"
    viewBox="0 0 ${width} ${height}"
    width="${width}"
    height="${height}"
    role="img"
    aria-label="${title}"
  >
    <style>
      ${style}
    </style>
    <rect width="${width}" height="${height}" fill="#ffffff" />
    <text class="title" x="22" y="32">${title}</text>
    <text x="22" y="${edge.top - 16}">${yLabel}</text>
    ${body}
  </svg> `;
}

/** Names with their colours, in as many rows as they need, under the title. */
function legend(names: readonly string[], palette: Palette, width: number): { drawn: Html; height: number } {
  let [x, row] = [22, 0];
  const drawn = names.map((name) => {
    const own = textWidth(name) + 34;
    if (x > 22 && x + own > width) [x, row] = [22, row + 1];
    const [at, y] = [x, 56 + 20 * row];
    x += own;
    return html`<g class="${palette.of(name)}">
      <rect x="${px(at)}" y="${y - 10}" width="11" height="11" rx="3" />
      <text class="key" x="${px(at + 17)}" y="${y}">${name}</text>
    </g>`;
  });
  return { drawn: html`${drawn}`, height: 20 * (row + 1) };
}
