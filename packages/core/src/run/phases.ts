/** How long the phases of a step take. */

export type Phase = 'prompt' | 'rollout' | 'reward' | 'update';
export type Seconds = Readonly<Record<Phase, number>>;

/** Called at the end of a phase; times in milliseconds of `performance.now()`. */
export type ObservePhase = (phase: Phase, start: number, end: number) => void;

export class Stopwatch {
  readonly #seconds: Record<Phase, number> = { prompt: 0, rollout: 0, reward: 0, update: 0 };
  readonly #onPhase: ObservePhase | undefined;
  #last = performance.now();

  constructor(onPhase?: ObservePhase) {
    this.#onPhase = onPhase;
  }

  get seconds(): Seconds {
    return { ...this.#seconds };
  }

  /** The phase that has gone on since the last lap ends. */
  lap(phase: Phase): void {
    const now = performance.now();
    this.#seconds[phase] += (now - this.#last) / 1000;
    this.#onPhase?.(phase, this.#last, now);
    this.#last = now;
  }
}
