/** What commands print: results on standard output, progress on standard error. */

/** What the user types to run this program. */
export const PROGRAM = process.env.VISURF_PROGRAM ?? 'visurf';

/** One JSON document, as other programs read it. */
export function printJson(value: unknown): void {
  process.stdout.write(`${JSON.stringify(value)}\n`);
}

/** Says what needs attention, beside the results. */
export function warn(message: string): void {
  console.error(`warning: ${message}`);
}

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

/** Four significant digits; whole numbers as they are. */
export function formatNumber(value: number): string {
  if (Number.isInteger(value)) return String(value);
  if (!Number.isFinite(value)) return 'n/a';
  return Math.abs(value) < 1e-3 ? value.toExponential(2) : String(Number(value.toPrecision(4)));
}

/** `75 s`, `4 min 10 s`, `2 h 5 min`. */
export function formatDuration(seconds: number): string {
  const whole = Math.max(0, Math.round(seconds));
  if (whole < 90) return `${whole} s`;
  const minutes = Math.floor(whole / 60);
  if (minutes < 90) return `${minutes} min ${whole % 60} s`;
  return `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

/** How often progress is printed where lines cannot be overwritten, in seconds. */
const QUIET_INTERVAL = 10;

/** One line that is overwritten on a terminal; elsewhere a line now and then. */
export class Progress {
  #stage = '';
  #started = 0;
  #printed = 0;

  /** `remaining`: seconds, when the caller knows better than a straight line from the start of the stage. */
  update(stage: string, done: number, total: number, note = '', remaining?: number): void {
    const now = performance.now() / 1000;
    const isNew = stage !== this.#stage;
    if (isNew) {
      this.finish();
      [this.#stage, this.#started, this.#printed] = [stage, now, 0];
    }
    const isDue = process.stderr.isTTY || isNew || done >= total || now - this.#printed >= QUIET_INTERVAL;
    if (!isDue) return;
    this.#printed = now;
    const left = remaining ?? (done > 0 ? ((now - this.#started) / done) * (total - done) : undefined);
    const time = left === undefined ? '' : `${formatDuration(left)} left`;
    const parts = [`${stage} ${bar(done, total)} ${done}/${total}`, note, time].filter((part) => part !== '');
    this.#write(parts.join('  '));
  }

  /** Bytes of a model that is being downloaded. */
  download({ id, done, total }: { readonly id: string; readonly done: number; readonly total: number }): void {
    const megabytes = (bytes: number) => Math.round(bytes / 1e6);
    this.update(`downloading ${id} (MB)`, megabytes(done), megabytes(total));
    if (done === total) this.finish();
  }

  /** A line that stays. */
  message(text: string): void {
    this.finish();
    process.stderr.write(`${text}\n`);
  }

  /** Keeps the last line, and goes to the next one. */
  finish(): void {
    if (this.#stage !== '' && process.stderr.isTTY) process.stderr.write('\n');
    this.#stage = '';
  }

  #write(text: string): void {
    if (!process.stderr.isTTY) process.stderr.write(`${text}\n`);
    else process.stderr.write(`\r\x1b[K${text.slice(0, (process.stderr.columns || 80) - 1)}`);
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

function bar(done: number, total: number): string {
  const width = 20;
  const filled = total > 0 ? Math.round((Math.min(done, total) / total) * width) : 0;
  return '█'.repeat(filled) + '░'.repeat(width - filled);
}
