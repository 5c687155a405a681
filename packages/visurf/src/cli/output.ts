/** What commands print: results on standard output, progress on standard error. */
import { formatDuration, formatNumber } from './format.ts';
import { bar, coloured, Status } from './status.ts';
import type { Screen } from './status.ts';

export { formatDuration, formatNumber } from './format.ts';

/** What the user types to run this program. */
export const PROGRAM = process.env.VISURF_PROGRAM ?? 'visurf';

/** One JSON document, as other programs read it. */
export function printJson(value: unknown): void {
  process.stdout.write(`${JSON.stringify(value)}\n`);
}

/** Says what needs attention, beside the results. */
export function warn(message: string): void {
  console.error(`${coloured('yellow', 'warning:')} ${message}`);
}

/** Says where that is now whose place a new file has taken. */
export const sayKept = (file: string, copy: string): void =>
  console.error(`${file} was there already: what it held is in ${copy}`);

export function print(text: string): void {
  process.stdout.write(`${text}\n`);
}

/** Columns under their headings, numbers to the right. */
export function table(headings: readonly string[], rows: readonly (readonly string[])[]): string {
  const widths = headings.map((heading, column) =>
    Math.max(heading.length, ...rows.map((row) => (row[column] ?? '').length)),
  );
  const isNumeric = headings.map((_, column) => rows.every((row) => /^[-+\d.% ]*$/.test(row[column] ?? '')));
  const line = (cells: readonly string[]) =>
    cells
      .map((cell, column) => (isNumeric[column] ? cell.padStart(widths[column]!) : cell.padEnd(widths[column]!)))
      .join('  ')
      .trimEnd();
  return [line(headings), line(widths.map((width) => '-'.repeat(width))), ...rows.map(line)].join('\n');
}

/** Metrics, one per line. */
export function metricsTable(metrics: Readonly<Record<string, number>>): string {
  return table(
    ['metric', 'value'],
    Object.entries(metrics).map(([name, value]) => [name, formatNumber(value)]),
  );
}

/** Seconds after which the pace of a stage says something. */
const TELLING = 2;

/** How far a stage of some work has come. */
export class Progress {
  readonly #status: Status;
  #stage = '';
  #started = 0;

  constructor(screen?: Screen) {
    this.#status = new Status(screen);
  }

  /** `remaining`: seconds, when the caller knows better than a straight line from the start of the stage. */
  update(stage: string, done: number, total: number, note = '', remaining?: number): void {
    const now = performance.now() / 1000;
    const isNew = stage !== this.#stage;
    if (isNew) {
      this.finish();
      [this.#stage, this.#started] = [stage, now];
    }
    const spent = now - this.#started;
    const straight = done > 0 && spent > TELLING ? (spent / done) * (total - done) : undefined;
    const left = done >= total ? undefined : (remaining ?? straight);
    const time = left === undefined ? '' : `${formatDuration(Math.max(1, left))} left`;
    const count = total > 0 ? `${bar(done, total)} ${done}/${total}` : '';
    this.#status.show([stage, count, note, time], isNew || (total > 0 && done >= total));
  }

  /** Bytes of a model that is being downloaded. */
  download({ id, done, total }: { readonly id: string; readonly done: number; readonly total: number }): void {
    const megabytes = (bytes: number) => Math.round(bytes / 1e6);
    this.update(`downloading ${id} (MB)`, megabytes(done), megabytes(total));
    if (done === total) this.finish();
  }

  /** A line that stays. */
  message(text: string): void {
    this.#status.message(text);
  }

  /** Keeps the last line, and goes to the next one. */
  finish(): void {
    this.#status.finish();
    this.#stage = '';
  }
}

/** Shows how far the reading of data has come. */
export const reading =
  (progress: Progress) =>
  (what: string, done: number, total: number): void =>
    progress.update(`checking ${what}`, done, total);

/** Shows a download where there is one. */
export function downloads(): (progress: {
  readonly id: string;
  readonly done: number;
  readonly total: number;
}) => void {
  const progress = new Progress();
  return (each) => progress.download(each);
}
