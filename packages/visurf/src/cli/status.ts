/** What is going on, in as many lines as the terminal's width needs, drawn over and over; elsewhere plain lines now and then. */
import { stripVTControlCharacters, styleText } from 'node:util';

/** The part of a stream that is needed of one; a terminal has columns. */
export interface Screen {
  readonly isTTY?: boolean;
  readonly columns?: number;
  write(text: string): unknown;
}

/** How often a line is printed where none can be drawn over, in seconds. */
const QUIET = 10;
/** Drawn at most so often, in seconds. */
const REDRAW = 0.05;
const NARROWEST = 20;

const charactersOf = (text: string): string[] => Array.from(stripVTControlCharacters(text));
const widthOf = (text: string): number => charactersOf(text).length;

/** Parts in lines that are not wider than the terminal: they go to the next line as a whole, and are cut only where one alone is too wide. */
export function layout(parts: readonly string[], columns: number): string[] {
  // The last column is left free: some terminals go on to the next line once it is filled.
  const width = Math.max(NARROWEST, columns) - 1;
  const lines: string[] = [];
  let room = 0;
  for (const part of parts.filter((each) => each !== '')) {
    const own = widthOf(part);
    const shown =
      own > width
        ? `${charactersOf(part)
            .slice(0, width - 1)
            .join('')}…`
        : part;
    const before = lines.at(-1);
    if (before !== undefined && own + 2 <= room) lines[lines.length - 1] = `${before}  ${shown}`;
    else [lines[lines.length], room] = [shown, width + 2];
    room -= own + 2;
  }
  return lines;
}

export class Status {
  readonly #screen: Screen;
  readonly #clock: () => number;
  /** Lines that are drawn and may be drawn over. */
  #drawn = 0;
  #last = -Infinity;
  /** Where lines cannot be drawn over: the last one. */
  #said = '';
  #parts: readonly string[] = [];

  /** @param clock in seconds */
  constructor(screen: Screen = process.stderr, clock = () => performance.now() / 1000) {
    [this.#screen, this.#clock] = [screen, clock];
  }

  /** Whether lines are drawn over. */
  get isLive(): boolean {
    return this.#screen.isTTY === true;
  }

  /** @param isDue whether it matters more than the last one: it is then shown at once */
  show(parts: readonly string[], isDue = false): void {
    const now = this.#clock();
    this.#parts = parts;
    if (!isDue && now - this.#last < (this.#screen.isTTY ? REDRAW : QUIET)) return;
    this.#last = now;
    this.#draw();
  }

  /** A line that stays, above what is drawn. */
  message(text: string): void {
    const parts = this.#drawn > 0 ? this.#parts : [];
    this.#erase();
    this.#screen.write(`${text}\n`);
    this.#parts = parts;
    if (this.#screen.isTTY && parts.length > 0) this.#draw();
  }

  /** Keeps what is drawn, as it was last. */
  finish(): void {
    if (this.#drawn > 0) {
      this.#draw();
      this.#screen.write('\n');
    }
    [this.#drawn, this.#parts, this.#last] = [0, [], -Infinity];
  }

  #draw(): void {
    if (!this.#screen.isTTY) {
      const line = this.#parts.filter((part) => part !== '').join('  ');
      if (line !== this.#said) this.#screen.write(`${line}\n`);
      this.#said = line;
      return;
    }
    const lines = layout(this.#parts, this.#screen.columns ?? 80);
    this.#erase();
    this.#screen.write(lines.join('\n'));
    this.#drawn = lines.length;
  }

  #erase(): void {
    if (this.#drawn === 0) return;
    this.#screen.write(`${this.#drawn > 1 ? `\x1b[${this.#drawn - 1}A` : ''}\r\x1b[J`);
    this.#drawn = 0;
  }
}

/** Text in colour where standard error shows some (NO_COLOR, FORCE_COLOR, NODE_DISABLE_COLORS). */
export const coloured = (format: Parameters<typeof styleText>[0], text: string): string =>
  styleText(format, text, { stream: process.stderr });

export function bar(done: number, total: number, width = 20): string {
  const filled = total > 0 ? Math.floor((Math.min(done, total) / total) * width) : 0;
  return '█'.repeat(filled) + '░'.repeat(width - filled);
}
