/** The loop of a training: steps, what each leaves behind, evaluation, checkpoints; and what to do where one fails. */
import { join } from 'node:path';

import { optim } from '@visurf/torch';
import { hold } from '@visurf/torch/signals';

import type { CursorState } from '../data/cursor.ts';
import { messageOf, NotFinite, UserError } from '../errors.ts';
import { answerRecord, evaluatePolicy } from '../eval/evaluate.ts';
import { formsOfBase } from '../forms.ts';
import type { FormHistory } from '../label/align.ts';
import { TakeoverGuard } from '../label/takeover.ts';
import { explainTraining } from '../memory.ts';
import { scorerOf } from '../reward/reward.ts';
import { CollapseGuard } from '../run/collapse.ts';
import { MismatchGuard } from '../run/mismatch.ts';
import { readEvents } from '../run/events.ts';
import type { ObservePhase, Phase } from '../run/phases.ts';
import { asked, describeStep, type StepResult } from '../run/record.ts';
import { SilenceGuard } from '../run/silence.ts';
import { Watchdog } from '../run/watchdog.ts';
import { stepWork } from '../schedule/paradigm.ts';
import { trainStep, type StepContext } from '../step.ts';
import { SampledAhead } from './ahead.ts';
import { Batches } from './batches.ts';
import { Checkpoints } from './checkpoints.ts';
import { openLearner } from './learner.ts';
import { reportRun } from './report.ts';
import { Scores, type Score } from './scores.ts';
import type { Metrics, Progress, Training, TrainProgress, TrainResult } from './types.ts';

/** Steps whose numbers are not finite, after which a run ends whatever `onNonFinite` says. */
const spoiledInARow = 5;

/** What comes next, as a rule: with dynamic sampling more prompts may. */
const AFTER: Readonly<Record<Phase, Phase>> = {
  prompt: 'rollout',
  rollout: 'reward',
  reward: 'update',
  update: 'prompt',
};

/** Trains from the first step, or from that of the checkpoint, to the last. */
export async function trainPolicy(training: Training): Promise<TrainResult> {
  const { config, policy, sampler, experiment, samples, checkpoint, signal, processes } = training;
  using learner = openLearner(policy, config, checkpoint, processes);
  const context: StepContext = { config, policy, sampler, scorer: experiment.scorer, signal, processes, learner };
  const saved = checkpoint?.state as Progress | undefined;
  const forms = saved?.forms ?? (await formsOfBase(context, samples, signal));
  return await new Loop(training, context, { ...saved, forms }).run();
}

class Loop {
  readonly #training: Training;
  readonly #context: StepContext;
  readonly #batches: Batches;
  readonly #ahead: SampledAhead | undefined;
  readonly #checkpoints: Checkpoints;
  /** Samples that were met. */
  readonly #met: ReturnType<Training['run']['sampleLog']>;
  readonly #guards: readonly { observe(metrics: Metrics): readonly string[] | string | undefined }[];
  readonly #watchdog: Watchdog<Phase>;
  /** Steps that are made. */
  #step: number;
  /** The place in the data after them. */
  #finished: CursorState;
  /** What waited for the next one then. */
  #waiting: SampledAhead['waiting'];
  #forms: FormHistory;
  #metrics: Metrics;
  /** The last step is still to be evaluated. */
  #evaluates: boolean;
  readonly #scores: Scores;
  /** Steps in a row whose numbers were not finite. */
  #spoiled = 0;
  /** While there is a step to save that is finished: a signal waits for that. */
  #unsaved: Disposable | undefined;

  constructor(training: Training, context: StepContext, saved: Partial<Progress> & Pick<Progress, 'forms'>) {
    const { config, run, checkpoint } = training;
    const onWarning = (message: string): void => this.#warn(message);
    const { last, steps, past, pace } = checkpoint ? pastOf(run.directory) : nothing;
    if (pace.steps.length > 0) training.onEvent({ kind: 'pace', ...pace });
    this.#training = training;
    this.#context = context;
    this.#batches = new Batches({ ...training, onWarning }, saved.cursor);
    this.#checkpoints = new Checkpoints({ ...training, optimizer: context.learner.optimizer, onWarning });
    this.#met = run.sampleLog(config.record.images);
    this.#guards = [
      new TakeoverGuard(steps),
      new SilenceGuard(steps),
      new CollapseGuard(steps),
      new MismatchGuard(steps),
    ];
    this.#watchdog = new Watchdog<Phase>({ onWarning });
    this.#step = checkpoint?.step ?? 0;
    const waits = { step: this.#step, saved: saved.ahead };
    this.#ahead = config.rollout.ahead === 1 ? new SampledAhead(context, this.#batches, onWarning, waits) : undefined;
    this.#finished = this.#batches.drawn;
    this.#waiting = this.#ahead?.waiting;
    this.#forms = saved.forms;
    this.#evaluates = saved.evaluates ?? this.#step === 0;
    this.#metrics = last;
    this.#scores = new Scores(config.eval.patience, past);
  }

  async run(): Promise<TrainResult> {
    const { config, run, checkpoint, signal, processes, onEvent } = this.#training;
    using _watchdog = this.#watchdog;
    const begun = this.#step;
    try {
      try {
        // What there is to roll back to.
        if (config.onNonFinite === 'rollback' && !checkpoint) await this.#save();
        if (this.#evaluates) await this.#conclude();
        while (this.#step < config.steps && !this.#scores.areExhausted && !(await processes.stops(signal))) {
          if (await this.#takeStep()) await this.#conclude();
        }
      } catch (error) {
        // The step, or the evaluation, in progress is dropped.
        if (!signal?.aborted || error !== signal.reason) throw error;
      }
      if (!this.#checkpoints.hasStep(this.#step)) await this.#save();
      const stopped = this.#scores.areExhausted && this.#step < config.steps;
      const isNews = this.#step > begun && (stopped || this.#step === config.steps);
      const worse = isNews ? this.#scores.warning : undefined;
      if (worse !== undefined) this.#warn(worse);
      const interrupted = !stopped && (this.#step < config.steps || this.#evaluates);
      const message = stopped ? this.#scores.described : undefined;
      if (message !== undefined) onEvent({ kind: 'stopped', step: this.#step, message });
      run.log({ type: 'end', step: this.#step, reason: interrupted ? 'interrupted' : 'done', message });
      if (this.#step > 0 && processes.rank === 0) await this.#report(!interrupted);
      return { run: config.output, steps: this.#step, metrics: this.#metrics, interrupted };
    } catch (error) {
      await this.#checkpoints.rescue(this.#step, this.#progress, error);
      const explained = await explainTraining(error, config);
      this.#logFailure(explained);
      throw explained;
    } finally {
      this.#release();
    }
  }

  /** @returns whether the step was made: there is something to evaluate and to keep */
  async #takeStep(): Promise<boolean> {
    const { config, run, onEvent } = this.#training;
    const { scorer } = this.#context;
    const { steps } = config;
    const learningRate = config.optimizer.learningRate * optim.scheduleFactor(this.#step, steps, config.optimizer);
    const result = await this.#attempt(learningRate);
    const step = ++this.#step;
    this.#keepPlace();
    this.#unsaved ??= hold();
    if (result instanceof NotFinite) {
      // Not even rollouts came of it.
      this.#metrics = { nonFinite: 1 };
      run.log({ type: 'step', step, metrics: this.#metrics, seconds: {} });
      onEvent({ kind: 'step', step, steps, metrics: this.#metrics });
      this.#goOn(result.message);
      return false;
    }
    this.#forms = result.forms;
    const { event, groups } = describeStep(step, result, scorer, learningRate, config.record.tokens);
    this.#metrics = event.metrics;
    run.log(event);
    run.writeGroups(step, groups);
    await this.#met.add(
      result.groups.map(({ sample, prompt: { rendered, frames } }) => {
        const { task } = scorerOf(scorer, sample);
        return asked(scorer, { sample, rendered, frames, truth: task.parseTruth(sample, frames) });
      }),
    );
    onEvent({ kind: 'step', step, steps, metrics: event.metrics });
    for (const message of this.#guards.flatMap((guard) => guard.observe(event.metrics) ?? [])) this.#warn(message);
    if (result.update.nonFinite === undefined) this.#spoiled = 0;
    else this.#goOn(result.update.nonFinite);
    return true;
  }

  /** Algorithm 1 under the eyes of the watchdog. @returns why nothing came of it, where numbers were not finite */
  async #attempt(learningRate: number): Promise<StepResult | NotFinite> {
    const { config, profile } = this.#training;
    const step = this.#step + 1;
    const work = stepWork(config, step);
    const draw = () => this.#batches.draw();
    const take = (onPhase?: ObservePhase): Promise<StepResult> => {
      const observed: ObservePhase = (phase, from, to) => {
        this.#watchdog.end(phase);
        this.#watchdog.begin(AFTER[phase]);
        if (phase !== 'update') this.#tell(AFTER[phase], 0, 0);
        onPhase?.(phase, from, to);
      };
      this.#watchdog.begin('prompt');
      this.#tell('prompt', 0, 0);
      const onPart: StepContext['onPart'] = (phase, done, all) => this.#tell(phase, done, all);
      const context = { ...this.#context, ahead: this.#ahead, onPhase: observed, onPart };
      return trainStep(context, draw, step, work, learningRate, this.#forms)
        .catch((error: unknown) => {
          throw inStep(step, error);
        })
        .finally(() => this.#watchdog.stop());
    };
    try {
      return await (profile?.step(step, step === config.steps, this.#context.learner.optimizer, take) ?? take());
    } catch (error) {
      const cause = error instanceof UserError ? error.cause : undefined;
      if (cause instanceof NotFinite && config.onNonFinite !== 'stop') return cause;
      throw error;
    }
  }

  /** After a step whose numbers were not finite, and whose update was left out. */
  #goOn(what: string): void {
    const { onNonFinite } = this.#training.config;
    // Before anything else: what is kept of the run in an error is not to hold weights that are not finite.
    if (onNonFinite === 'rollback') this.#checkpoints.rollBack();
    if (++this.#spoiled === spoiledInARow) {
      throw new UserError(`nothing was finite in ${this.#spoiled} steps: ${what}`, {
        remedy: 'Go back to an earlier checkpoint (--from STEP) with a lower optimizer.learningRate.',
      });
    }
    const done =
      onNonFinite === 'skip'
        ? 'the update was left out'
        : `the weights are those of ${this.#checkpoints.directory} again`;
    this.#warn(`${what}\n  ${done}`);
  }

  /** Evaluation and checkpoint after a step. Evaluation that is stopped is made up for when the run goes on. */
  async #conclude(): Promise<void> {
    const { config, validation } = this.#training;
    const last = this.#step === config.steps;
    const { every } = config.eval;
    const isDue = this.#step === 0 || last || (every > 0 && this.#step % every === 0);
    const isEvaluated = validation.length > 0 && isDue;
    this.#evaluates = isEvaluated;
    if (isEvaluated) await this.#evaluate();
    // The base is there already.
    if (this.#step === 0) return;
    if (last || isEvaluated || this.#step % config.checkpoint.every === 0) {
      await this.#save(isEvaluated ? { metric: 'reward', value: this.#metrics.reward ?? 0 } : undefined);
    }
  }

  async #evaluate(): Promise<void> {
    const { policy, experiment, validation, run, onEvent, signal, processes } = this.#training;
    const step = this.#step;
    const { maxNewTokens } = experiment.settings;
    this.#tell('evaluation', 0, validation.length, step);
    const { metrics, samples } = await evaluatePolicy(policy, experiment, validation, {
      ...{ maxNewTokens, signal, processes },
      onProgress: (done, total) => this.#tell('evaluation', done, total, step),
    });
    this.#metrics = metrics;
    this.#scores.add(step, metrics);
    await this.#met.add(samples.map(({ sample, subject }) => asked(experiment.scorer, { sample, ...subject })));
    run.write('evaluations', step, samples.map(answerRecord));
    run.log({ type: 'eval', step, metrics, n: validation.length });
    onEvent({ kind: 'eval', step, metrics, n: validation.length });
    this.#evaluates = false;
  }

  /** A report that cannot be written must not be what a run ends with. */
  async #report(shows: boolean): Promise<void> {
    const { config, run, validation, samples, onEvent } = this.#training;
    try {
      const story = {
        config,
        directory: run.directory,
        validation,
        samples: samples.length,
        best: run.best?.step,
        shows,
      };
      onEvent({ kind: 'report', path: await reportRun(story) });
    } catch (error) {
      onEvent({ kind: 'warning', message: `report.html could not be written: ${messageOf(error)}` });
    }
  }

  /** Notes where the data is after a step. */
  #keepPlace(): void {
    this.#finished = this.#batches.drawn;
    this.#waiting = this.#ahead?.waiting;
  }

  get #progress(): Parameters<Checkpoints['save']>[1] {
    return { cursor: this.#finished, waiting: this.#waiting, forms: this.#forms, evaluates: this.#evaluates };
  }

  async #save(best?: { metric: string; value: number }): Promise<void> {
    using _saving = hold();
    await this.#checkpoints.save(this.#step, this.#progress, best);
    this.#release();
  }

  #release(): void {
    this.#unsaved?.[Symbol.dispose]();
    this.#unsaved = undefined;
  }

  #tell(phase: TrainProgress['phase'], done: number, total: number, step = this.#step + 1): void {
    const { steps } = this.#training.config;
    this.#training.onEvent({ kind: 'progress', step, steps, phase, done, total });
  }

  #warn(message: string): void {
    // Said before it is written, for which there may be no room.
    this.#training.onEvent({ kind: 'warning', message: `step ${this.#step}: ${message}` });
    this.#training.run.log({ type: 'warning', step: this.#step, message });
  }

  #logFailure(error: unknown): void {
    try {
      this.#training.run.log({ type: 'end', step: this.#step, reason: 'failed', message: messageOf(error) });
    } catch {
      // A log that cannot be written must not hide why the run failed.
    }
  }
}

interface Past {
  readonly last: Metrics;
  readonly steps: readonly Metrics[];
  readonly past: readonly Score[];
  readonly pace: { readonly steps: readonly number[]; readonly evaluation: number | undefined };
}

const nothing: Past = { last: {}, steps: [], past: [], pace: { steps: [], evaluation: undefined } };

/** Steps that say how long one takes. */
const RECENT = 20;

/** What a resumed run has reached, the steps that it has made, and how long they took. */
function pastOf(directory: string): Past {
  const events = readEvents(join(directory, 'events.jsonl'));
  const last = events.findLast(({ type }) => type === 'eval' || type === 'step');
  const made = events.filter((event) => event.type === 'step');
  const seconds = made.slice(-RECENT).map((event) => Object.values(event.seconds).reduce((a, b) => a + b, 0));
  const at = events.findLastIndex(({ type }) => type === 'eval');
  const before = events[at - 1];
  const evaluation = before?.type === 'step' ? (events[at]!.time - before.time) / 1000 : undefined;
  return {
    last: last && 'metrics' in last ? last.metrics : {},
    steps: made.map(({ metrics }) => metrics),
    past: events.flatMap((event) => (event.type === 'eval' ? [{ step: event.step, metrics: event.metrics }] : [])),
    pace: { steps: seconds, evaluation },
  };
}

/** Adds the number of the step to a UserError. */
function inStep(step: number, error: unknown): unknown {
  if (!(error instanceof UserError)) return error;
  const { reason, where, remedy } = error;
  return new UserError(reason, { where: `step ${step}${where ? `, ${where}` : ''}`, remedy, cause: error });
}
