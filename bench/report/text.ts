/** Numbers and tables of the page. */
import type { Step } from '../peer.ts';
import type { Summary } from '../statistics.ts';

/** Three digits; more only before the point. */
export function number(value: number): string {
  if (value >= 100) return Math.round(value).toLocaleString('en');
  return value >= 0.001 || value === 0 ? value.toPrecision(3) : value.toExponential(1);
}

export const percent = (share: number): string => `${(100 * share).toFixed(0)}%`;

export const range = ({ median, low, high }: Summary): string =>
  `${number(median)} (${number(low)} to ${number(high)})`;

export function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`;
  return [line(head), `|${'---|'.repeat(head.length)}`, ...rows.map(line)].join('\n');
}

const sum = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0);

export const total = (step: Step): number => step.seconds.total ?? NaN;

/** Ours measures the update as a whole, the peers its parts. */
export function updateSeconds({ seconds }: Step): number {
  return seconds.update ?? sum(['forward', 'backward', 'optimizer'].map((name) => seconds[name] ?? NaN));
}
