/** A chart of curves over steps: drag to zoom, double-click to see all again. */
import { useEffect, useRef } from 'react';
import uPlot from 'uplot';
import 'uplot/dist/uPlot.min.css';
import type { Curve } from '../types.ts';

export interface Line {
  readonly name: string;
  readonly curve: Curve;
  /** Place among the colours. */
  readonly color: number;
  readonly dashed?: boolean;
}

interface ChartProps {
  readonly lines: readonly Line[];
  /** 0: as it is; up to 0.98. */
  readonly smoothing: number;
  /** Steps at which a warning was given. */
  readonly warned?: readonly number[];
  readonly height?: number;
}

export const COLORS = ['#3b82f6', '#f97316', '#10b981', '#a855f7', '#ef4444', '#14b8a6', '#eab308', '#ec4899'];

/** Exponential mean, corrected for its start. */
export function smooth(values: readonly number[], by: number): number[] {
  let [mean, weight] = [0, 0];
  return values.map((value) => {
    mean = by * mean + (1 - by) * value;
    weight = by * weight + (1 - by);
    return mean / weight;
  });
}

/** All lines on one axis of steps: [steps, values of line 1, ...], null where a line has none. */
function aligned(lines: readonly Line[], smoothing: number): uPlot.AlignedData {
  const steps = [...new Set(lines.flatMap(({ curve }) => curve.steps))].sort((a, b) => a - b);
  const place = new Map(steps.map((step, i) => [step, i]));
  const columns = lines.map(({ curve }) => {
    const column = Array<number | null>(steps.length).fill(null);
    const values = smoothing > 0 ? smooth(curve.values, smoothing) : curve.values;
    curve.steps.forEach((step, i) => {
      column[place.get(step) ?? 0] = values[i] ?? null;
    });
    return column;
  });
  return [steps, ...columns];
}

export function Chart({ lines, smoothing, warned = [], height = 180 }: ChartProps) {
  const holder = useRef<HTMLDivElement>(null);
  const shown = JSON.stringify([
    lines.map(({ name, color, dashed, curve }) => [
      name,
      color,
      dashed,
      curve.total,
      curve.steps.at(-1),
      curve.values.at(-1),
    ]),
    smoothing,
    warned,
    height,
  ]);
  useEffect(() => {
    const element = holder.current;
    if (!element) return undefined;
    const styles = getComputedStyle(element);
    const [ink, grid] = [styles.getPropertyValue('--faint'), styles.getPropertyValue('--line')];
    const axis = {
      stroke: ink,
      grid: { stroke: grid, width: 1 },
      ticks: { stroke: grid, width: 1 },
      font: '11px system-ui',
    };
    const chart = new uPlot(
      {
        width: Math.max(200, element.clientWidth),
        height,
        scales: { x: { time: false } },
        axes: [
          { ...axis, size: 28 },
          { ...axis, size: 52 },
        ],
        legend: { show: lines.length > 1, live: false },
        cursor: { drag: { x: true, y: false } },
        series: [
          { label: 'step' },
          ...lines.map(({ name, color, dashed, curve }) => ({
            label: name,
            stroke: COLORS[color % COLORS.length]!,
            width: 1.5,
            spanGaps: true,
            points: { show: curve.steps.length < 40, size: 4 },
            ...(dashed === true && { dash: [4, 4] }),
          })),
        ],
        hooks: {
          draw: [
            (self) => {
              self.ctx.save();
              self.ctx.strokeStyle = '#d97706';
              for (const step of warned) {
                const x = self.valToPos(step, 'x', true);
                self.ctx.beginPath();
                self.ctx.moveTo(x, self.bbox.top);
                self.ctx.lineTo(x, self.bbox.top + self.bbox.height);
                self.ctx.stroke();
              }
              self.ctx.restore();
            },
          ],
        },
      },
      aligned(lines, smoothing),
      element,
    );
    const resize = new ResizeObserver(() => {
      chart.setSize({ width: Math.max(200, element.clientWidth), height });
    });
    resize.observe(element);
    return () => {
      resize.disconnect();
      chart.destroy();
    };
    // The lines are new objects each time; what they hold is compared.
  }, [shown]);
  const name = lines.map((line) => `${line.name}: last ${line.curve.values.at(-1) ?? 'none'}`).join('; ');
  return <div className="chart" ref={holder} role="img" aria-label={name} />;
}
