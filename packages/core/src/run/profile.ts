/** A few steps of a run as a trace: phases of the step, and the operators that they call. */
import { join } from 'node:path';

import type { observeCalls, optim } from '@visurf/torch';

import { fileError } from '../errors.ts';
import type { ObservePhase } from './phases.ts';
import { TraceFile } from './trace.ts';

export interface ProfileOptions {
  /** Unset: `trace.json` in the run directory. */
  readonly file?: string | undefined;
  /** Steps that are recorded, after the first; 2 unless said. A run that has one step records that. */
  readonly steps?: number | undefined;
}

/** Once the file is that large, operators are left out: viewers open no larger ones. */
const mostBytes = 256 << 20;

export interface ProfileSummary {
  readonly path: string;
  /** Recorded. */
  readonly steps: number;
  /** Operators that were left out. */
  readonly missing: number;
}

export class Profile {
  readonly #path: string;
  readonly #trace: TraceFile;
  readonly #steps: number;
  readonly #observeCalls: typeof observeCalls;
  readonly #onDone: (summary: ProfileSummary) => void;
  #seen = 0;
  #recorded = 0;
  #missing = 0;
  #open = true;

  /**
   * @param run its directory
   * @param observe of the tensor library, which this folder never loads
   * @param onDone called once, when the steps are recorded or the run ends before
   * @throws UserError when the file cannot be written
   */
  constructor(
    { file, steps = 2 }: ProfileOptions,
    run: string,
    observe: typeof observeCalls,
    onDone: (summary: ProfileSummary) => void,
  ) {
    this.#path = file ?? join(run, 'trace.json');
    this.#steps = steps;
    this.#observeCalls = observe;
    this.#onDone = onDone;
    try {
      this.#trace = new TraceFile(this.#path, ['phases', 'operators']);
    } catch (error) {
      throw fileError(error, { where: this.#path, remedy: 'Give another file: --profile=FILE.json' });
    }
  }

  /**
   * Takes a step, and records it if it is one of those.
   * @param last no step follows
   * @param take with what is to be called at the end of each phase
   */
  async step<T>(
    number: number,
    last: boolean,
    optimizer: optim.Optimizer,
    take: (onPhase?: ObservePhase) => Promise<T>,
  ): Promise<T> {
    const warmingUp = this.#seen++ === 0 && !last;
    if (warmingUp || !this.#open) return take();
    const restore = this.#observe(optimizer);
    const start = performance.now();
    try {
      return await take((phase, from, to) => this.#trace.span('phases', phase, from, to - from));
    } finally {
      restore();
      this.#trace.span('phases', `step ${number}`, start, performance.now() - start);
      this.#trace.flush();
      if (++this.#recorded === this.#steps) this[Symbol.dispose]();
    }
  }

  #observe(optimizer: optim.Optimizer): () => void {
    const stop = this.#observeCalls((operator, start, duration) => {
      if (this.#trace.size > mostBytes) this.#missing++;
      else this.#trace.span('operators', operator, start, duration);
    });
    const step = optimizer.step.bind(optimizer);
    optimizer.step = () => {
      const start = performance.now();
      step();
      this.#trace.span('phases', 'optimizer', start, performance.now() - start);
    };
    return () => {
      stop();
      optimizer.step = step;
    };
  }

  [Symbol.dispose](): void {
    if (!this.#open) return;
    this.#open = false;
    this.#trace.close();
    this.#onDone({ path: this.#path, steps: this.#recorded, missing: this.#missing });
  }
}
