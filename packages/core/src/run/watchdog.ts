/**
 * Names the phase of a step that takes far longer than it does: a reward that waits for a server, a disk that is asleep,
 * a machine that swaps. It speaks while the phase goes on, where that leaves the event loop free, else at its end.
 */

/** Times its median, and at least so many seconds more. */
const FACTOR = 10;
const MARGIN = 30;
/** Milliseconds between looks. */
const INTERVAL = 1000;
/** Steps that a median needs. */
const ENOUGH = 5;
const KEPT = 101;

export interface WatchdogOptions {
  readonly onWarning: (message: string) => void;
}

export class Watchdog<Phase extends string> {
  readonly #seconds = new Map<Phase, number[]>();
  readonly #options: WatchdogOptions;
  readonly #timer: NodeJS.Timeout;
  #current: { readonly phase: Phase; readonly start: number } | undefined;
  #hasBarked = false;

  constructor(options: WatchdogOptions) {
    this.#options = options;
    this.#timer = setInterval(() => this.#look('is taking'), INTERVAL);
    this.#timer.unref();
  }

  /** A phase begins. */
  begin(phase: Phase): void {
    this.#current = { phase, start: performance.now() };
    this.#hasBarked = false;
  }

  /** The phase that has gone on since `begin` was this one, and is done. */
  end(phase: Phase): void {
    if (!this.#current) return;
    this.#current = { ...this.#current, phase };
    this.#look('took');
    const seconds = this.#seconds.get(phase) ?? [];
    if (seconds.push((performance.now() - this.#current.start) / 1000) > KEPT) seconds.shift();
    this.#seconds.set(phase, seconds);
    this.#current = undefined;
  }

  /** No phase goes on. */
  stop(): void {
    this.#current = undefined;
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer);
  }

  #look(verb: string): void {
    if (!this.#current || this.#hasBarked) return;
    const { phase, start } = this.#current;
    const past = (this.#seconds.get(phase) ?? []).toSorted((a, b) => a - b);
    if (past.length < ENOUGH) return;
    const usual = past[past.length >> 1]!;
    const seconds = (performance.now() - start) / 1000;
    if (seconds < FACTOR * usual || seconds < usual + MARGIN) return;
    this.#hasBarked = true;
    const shown = (value: number): string => (value < 10 ? value.toPrecision(2) : value.toFixed(0));
    this.#options.onWarning(`the phase ${phase} ${verb} ${shown(seconds)} s; it takes ${shown(usual)} s as a rule`);
  }
}
