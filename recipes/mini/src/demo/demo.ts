/**
 * The demo: data, the base's answers, RLVR and ViSurf from the same base with the same number of updates, their answers, a
 * report. What is there already is not made again, so a demo that was stopped at any instant goes on where it was.
 */
import { existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { evaluate, loadConfig, train, writeReport, type Config, type TrainEvent } from '@visurf/core';
import { checkpointSteps, stepName } from '@visurf/core/internals';

import { generateDataset, type Split } from './dataset.ts';
import { Eta } from './eta.ts';
import { BASE_MODEL, CONFIG, FULL, imagesOf, QUICK, questions, RUNS, stagesOf, type Size } from './plan.ts';
import { openSession, saveSession, type Session } from './session.ts';
import { COLUMNS, tell, type Row } from './story.ts';

export interface DemoEvent {
  readonly stage: string;
  readonly done: number;
  readonly total: number;
  /** A few words on how it goes. */
  readonly note?: string;
  /** Of the whole demo. */
  readonly etaSeconds?: number;
}

export interface DemoOptions {
  /** Fewer updates and questions. */
  readonly quick: boolean;
  /** Directory for the data, the runs and the report. */
  readonly output: string;
  /** Of the data and of training. */
  readonly seed: number;
  /** Go on with the demo in `output`. */
  readonly resume: boolean;
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
  /** The file; written when everything is done. */
  readonly report: string;
  /** Over all sessions. */
  readonly seconds: number;
  readonly interrupted: boolean;
}

/** @throws UserError where `output` holds something else */
export async function demo(options: DemoOptions, size = options.quick ? QUICK : FULL): Promise<DemoResult> {
  const session = openSession(options.output, options);
  const running = new Demo(options, session, size);
  const report = path.join(options.output, 'report.html');
  try {
    await running.makeData();
    await running.answerBase();
    for (const run of RUNS) await running.trainAndAnswer(run);
    await writeReport(report, running.tell());
    session.finished = true;
  } catch (error) {
    if (!options.signal?.aborted || error !== options.signal.reason) throw error;
  } finally {
    saveSession(options.output, session);
  }
  const seconds = Object.values(session.seconds).reduce((a, b) => a + b, 0);
  return { rows: running.rows, report, seconds, interrupted: !session.finished };
}

class Demo {
  readonly rows: Row[] = [];
  readonly #options: DemoOptions;
  readonly #session: Session;
  readonly #size: Size;
  readonly #base: string;
  readonly #steps: number;
  readonly #eta: Eta;
  #validation: Row['metrics'] = {};

  constructor(options: DemoOptions, session: Session, size: Size) {
    this.#options = options;
    this.#session = session;
    this.#size = size;
    this.#base = options.base ?? BASE_MODEL;
    this.#steps = this.#config(RUNS[0]).steps;
    this.#eta = new Eta(stagesOf(this.#size, this.#steps));
  }

  async makeData(): Promise<void> {
    // The last split that is written.
    if (existsSync(this.#data('test'))) return;
    const { seed, signal } = this.#options;
    const { images } = this.#size;
    await this.#stage('data', imagesOf(this.#size), async (advance) => {
      await generateDataset(this.#path('data'), { seed, images, signal, onProgress: (done) => advance(done) });
    });
  }

  async answerBase(): Promise<void> {
    const [validation, test] = [questions(this.#size, 'validation'), questions(this.#size, 'test')];
    if (!this.#known('base-validation') || !this.#known('base')) {
      await this.#stage('evaluate base', validation + test, async (advance) => {
        await this.#answer('base-validation', this.#base, 'validation', advance);
        await this.#answer('base', this.#base, 'test', (done) => advance(validation + done));
      });
    }
    this.#validation = this.#known('base-validation') ?? {};
    this.#addRow('base', 'base');
  }

  async trainAndAnswer(run: (typeof RUNS)[number]): Promise<void> {
    const { name, directory } = run;
    const checkpoints = this.#path(directory, 'checkpoints');
    const steps = checkpointSteps(checkpoints);
    if (!steps.includes(this.#steps)) {
      await this.#stage(`train ${name}`, this.#steps, (advance) => this.#train(run, advance), steps.at(-1));
    }
    if (!this.#known(directory)) {
      const checkpoint = path.join(checkpoints, stepName(this.#steps));
      await this.#stage(`evaluate ${name}`, questions(this.#size, 'test'), (advance) =>
        this.#answer(directory, checkpoint, 'test', advance),
      );
    }
    this.#addRow(name, directory);
  }

  tell() {
    return tell({
      directory: this.#options.output,
      rows: this.rows,
      validation: this.#validation,
      steps: this.#steps,
      questions: { train: questions(this.#size, 'train'), test: questions(this.#size, 'test') },
      seed: this.#options.seed,
      seconds: this.#session.seconds,
    });
  }

  async #train(run: (typeof RUNS)[number], advance: (done: number, note?: string) => void): Promise<void> {
    const { signal } = this.#options;
    const config = this.#config(run);
    let held = '';
    let step = 0;
    const onEvent = (event: TrainEvent) => {
      if (event.kind === 'eval') held = `, held-out N-Acc ${event.metrics.nAcc?.toFixed(0)}`;
      if (event.kind === 'step') advance((step = event.step), `reward ${event.metrics.reward?.toFixed(2)}${held}`);
      if (event.kind === 'warning') advance(step, event.message);
    };
    const resume = existsSync(path.join(config.output, 'config.yaml'));
    const { interrupted } = await train(config, { resume, onEvent, ...(signal && { signal }) });
    if (interrupted) signal?.throwIfAborted();
  }

  /** Answers a split, and keeps the answers and their metrics in `eval/`. */
  async #answer(name: string, model: string, split: Split, onProgress: (done: number) => void): Promise<void> {
    if (this.#known(name)) return;
    const { device, precision, signal } = this.#options;
    const { metrics } = await evaluate({
      ...{ model, data: this.#data(split), device, precision, signal, onProgress: (done) => onProgress(done) },
      maxNewTokens: this.#config(RUNS[0]).rollout.maxNewTokens,
      output: this.#path('eval', `${name}.jsonl`),
    });
    const file = this.#path('eval', `${name}.json`);
    writeFileSync(`${file}.tmp`, `${JSON.stringify(metrics)}\n`);
    renameSync(`${file}.tmp`, file);
  }

  /** Metrics that were measured in this session or an earlier one. */
  #known(name: string): Row['metrics'] | undefined {
    const file = this.#path('eval', `${name}.json`);
    return existsSync(file) ? (JSON.parse(readFileSync(file, 'utf8')) as Row['metrics']) : undefined;
  }

  #addRow(name: string, file: string): void {
    const metrics = this.#known(file) ?? {};
    const shown = COLUMNS.flatMap(({ key }) => (metrics[key] === undefined ? [] : [[key, metrics[key]] as const]));
    this.rows.push({ name, metrics: Object.fromEntries(shown) });
  }

  /** Runs a stage with its progress and its time. */
  async #stage(
    stage: string,
    total: number,
    work: (advance: (done: number, note?: string) => void) => Promise<void>,
    begun = 0,
  ): Promise<void> {
    const { onEvent, signal } = this.#options;
    signal?.throwIfAborted();
    const { seconds } = this.#session;
    const [before, started] = [seconds[stage] ?? 0, performance.now()];
    this.#eta.begin(stage, begun);
    const advance = (done: number, note?: string) => {
      this.#eta.advance(done);
      onEvent?.({ stage, done, total, etaSeconds: this.#eta.remaining, ...(note !== undefined && { note }) });
    };
    advance(begun);
    try {
      await work(advance);
    } finally {
      seconds[stage] = before + (performance.now() - started) / 1000;
      saveSession(this.#options.output, this.#session);
    }
  }

  #config({ paradigm, directory }: (typeof RUNS)[number]): Config {
    const { seed, device, precision } = this.#options;
    const values = {
      ...{ model: this.#base, output: this.#path(directory), seed, paradigm },
      ...{ 'data.train': this.#data('train'), 'data.validation': this.#data('validation') },
      ...(device && { device }),
      ...(precision && { precision }),
    };
    const overrides = Object.entries(values).map(([key, value]) => `${key}=${JSON.stringify(value)}`);
    return loadConfig(CONFIG, [...this.#size.changes, ...overrides]);
  }

  #data(split: Split): string {
    return this.#path('data', `${split}.jsonl`);
  }

  #path(...parts: string[]): string {
    return path.join(this.#options.output, ...parts);
  }
}
