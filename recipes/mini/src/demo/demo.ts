/**
 * The demo: data, then SFT, RLVR, SFT followed by RLVR, and ViSurf from the same base with the same number of updates,
 * their answers to held-out data, a report. What is there already is not made again, so a demo that was stopped at any
 * instant goes on where it was.
 */
import { existsSync } from 'node:fs';
import path from 'node:path';
import { compare, writeReport, type Compared, type Config } from '@visurf/core';

import { generateSuite } from '../dataset.ts';
import { Eta } from './eta.ts';
import { comparisonOf, dataFile, FULL, picturesOf, QUICK, stagesOf, type Size } from './plan.ts';
import { openSession, saveSession, type Session } from './session.ts';
import { publishedOf, rowsOf, tell, type Row } from './story.ts';

export interface DemoEvent {
  readonly stage: string;
  readonly done: number;
  readonly total: number;
  /** A few words on how it goes. */
  readonly note?: string;
  /** Seconds that the whole demo still takes. */
  readonly etaSeconds?: number;
}

export interface DemoOptions {
  /** Fewer tasks, updates and questions. */
  readonly quick: boolean;
  /** Directory for the data, the runs and the report. */
  readonly output: string;
  /** Seed of the data and of training. */
  readonly seed: number;
  /** Go on with the demo in `output`. */
  readonly resume: boolean;
  /** Delete a finished demo in `output`, and begin anew. */
  readonly again?: boolean | undefined;
  /** Directory of another base model than the recipe's. */
  readonly base?: string | undefined;
  readonly device?: Config['device'] | undefined;
  readonly precision?: Config['precision'] | undefined;
  readonly onEvent?: (event: DemoEvent) => void;
  /** When aborted, what is finished is kept, and `demo` returns. */
  readonly signal?: AbortSignal | undefined;
}

export interface DemoResult {
  /** One per policy, in percent. */
  readonly rows: readonly Row[];
  /** What the paper reports of the same columns, where it has them. */
  readonly published: readonly Row[];
  /** The file; written when everything is done. */
  readonly report: string;
  /** Over all sessions. */
  readonly seconds: number;
  readonly interrupted: boolean;
}

/** @throws UserError where `output` holds something else */
export async function demo(options: DemoOptions, size = options.quick ? QUICK : FULL): Promise<DemoResult> {
  const { output, signal } = options;
  const session = openSession(output, options);
  const clock = new Clock(options, session, size);
  const report = path.join(output, 'report.html');
  let compared: Compared | undefined;
  try {
    await makeData(options, size, clock);
    compared = await compare(comparison(options, size), { onEvent: (event) => clock.advance(event), signal });
    const { seed } = options;
    await writeReport(report, tell({ ...{ output, size, seed, compared }, seconds: session.seconds }));
    session.finished = true;
  } catch (error) {
    if (!signal?.aborted || error !== signal.reason) throw error;
  } finally {
    clock.stop();
    saveSession(output, session);
  }
  const seconds = Object.values(session.seconds).reduce((a, b) => a + b, 0);
  const rows = compared ? rowsOf(compared) : [];
  return { rows, published: compared ? publishedOf(compared) : [], report, seconds, interrupted: !session.finished };
}

async function makeData({ output, seed, signal }: DemoOptions, size: Size, clock: Clock): Promise<void> {
  // The file that is written last.
  if (existsSync(dataFile(output, 'skills'))) return;
  const total = picturesOf(size);
  const onProgress = (done: number): void => clock.advance({ stage: 'data', done, total });
  onProgress(0);
  const { sets, pictures } = size;
  await generateSuite(path.join(output, 'data'), { seed, pictures, sets, signal, onProgress });
}

function comparison({ output, seed, base, device, precision }: DemoOptions, size: Size) {
  const own = {
    ...{ 'data.train': dataFile(output, 'train'), 'data.validation': dataFile(output, 'validation') },
    ...(base !== undefined && { model: base }),
    ...(device && { device }),
    ...(precision && { precision }),
  };
  return comparisonOf(size, output, own, seed);
}

/** Tells how the stages go, and keeps what time they took. */
class Clock {
  readonly #options: DemoOptions;
  readonly #session: Session;
  readonly #eta: Eta;
  #stage: string | undefined;
  #since = performance.now();
  /** When something was last heard: what comes after it belongs to the next stage. */
  #last = performance.now();

  constructor(options: DemoOptions, session: Session, size: Size) {
    this.#options = options;
    this.#session = session;
    this.#eta = new Eta(stagesOf(size, options.seed));
  }

  advance({ stage, done, total, note }: DemoEvent): void {
    if (stage !== this.#stage) {
      this.stop();
      this.#stage = stage;
      this.#eta.begin(stage, Math.max(0, done - 1));
      saveSession(this.#options.output, this.#session);
    }
    this.#eta.advance(done);
    this.#last = performance.now();
    const etaSeconds = this.#eta.remaining;
    this.#options.onEvent?.({ stage, done, total, etaSeconds, ...(note !== undefined && { note }) });
  }

  stop(): void {
    if (this.#stage === undefined) return;
    const { seconds } = this.#session;
    seconds[this.#stage] = (seconds[this.#stage] ?? 0) + (this.#last - this.#since) / 1000;
    [this.#stage, this.#since] = [undefined, this.#last];
  }
}
