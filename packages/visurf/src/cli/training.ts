/** A training as its terminal shows it: where it is, how it goes, how long it still takes. */
import type { TrainEvent } from '@visurf/core';
import { formatDuration, formatNumber } from './format.ts';
import { bar, coloured, Status } from './status.ts';
import type { Screen } from './status.ts';

type ProgressEvent = Extract<TrainEvent, { kind: 'progress' }>;
type Taken = Extract<TrainEvent, { kind: 'pace' | 'progress' | 'step' | 'eval' }>;

/** What is known of the run beside its events. */
export interface Shown {
  readonly promptsPerStep: number;
  /** Steps between evaluations; 0: the first and the last alone. */
  readonly every: number;
}

const PHASES: Readonly<Record<ProgressEvent['phase'], string>> = {
  prompt: 'reading images',
  rollout: 'answering',
  reward: 'scoring',
  update: 'learning',
  evaluation: 'evaluating',
};

/** Steps whose pace counts. */
const RECENT = 20;

const median = (values: readonly number[]): number => values.toSorted((a, b) => a - b)[values.length >> 1] ?? NaN;

/** How long a training still takes: steps and evaluations at the pace of those before, also of sessions before. */
export class Remaining {
  readonly #every: number;
  readonly #steps: number[] = [];
  #evaluation: number | undefined;
  #isEvaluated = false;
  #step = 0;
  #total = 0;
  #phase: { readonly isEvaluation: boolean; readonly step: number; readonly since: number } | undefined;
  /** The step that was made last is still to be evaluated. */
  #isOwed = false;

  constructor(every: number) {
    this.#every = every;
  }

  /** What an earlier session of the run took. */
  know(steps: readonly number[], evaluation: number | undefined): void {
    this.#steps.push(...steps);
    this.#evaluation = evaluation;
  }

  /** A step, or an evaluation, begins. @param now in seconds */
  begin(isEvaluation: boolean, { step, steps }: Pick<ProgressEvent, 'step' | 'steps'>, now: number): void {
    [this.#step, this.#total] = [isEvaluation ? step : step - 1, steps];
    if (isEvaluation) [this.#isEvaluated, this.#isOwed] = [true, false];
    const known = this.#phase;
    if (known?.isEvaluation !== isEvaluation || known.step !== step) this.#phase = { isEvaluation, step, since: now };
  }

  end(now: number): void {
    if (!this.#phase) return;
    const { isEvaluation, since } = this.#phase;
    if (isEvaluation) this.#evaluation = now - since;
    else {
      this.#steps.push(now - since);
      this.#step += 1;
      this.#isOwed = this.#step === this.#total || (this.#every > 0 && this.#step % this.#every === 0);
    }
    this.#phase = undefined;
  }

  get secondsPerStep(): number | undefined {
    return this.#steps.length === 0 ? undefined : median(this.#steps.slice(-RECENT));
  }

  /** Undefined as long as no step is made: nothing is known then. */
  left(now: number): number | undefined {
    const pace = this.secondsPerStep;
    if (pace === undefined) return undefined;
    const { isEvaluation = false, since = now } = this.#phase ?? {};
    const spent = now - since;
    const evaluation = this.#evaluation ?? 0;
    const steps = (this.#total - this.#step) * pace - (isEvaluation ? 0 : Math.min(spent, pace));
    const running = isEvaluation ? Math.max(0, evaluation - spent) : 0;
    // Something always takes a moment until the end is there.
    return Math.max(1, steps + running + this.#evaluationsLeft * evaluation);
  }

  get #evaluationsLeft(): number {
    if (!this.#isEvaluated && this.#evaluation === undefined) return 0;
    const [step, total] = [this.#step, this.#total];
    const owed = this.#isOwed ? 1 : 0;
    if (step >= total) return owed;
    const between = this.#every > 0 ? Math.floor((total - 1) / this.#every) - Math.floor(step / this.#every) : 0;
    return owed + Math.max(0, between) + 1;
  }
}

export class TrainingScreen {
  readonly #status: Status;
  readonly #shown: Shown;
  readonly #remaining: Remaining;
  readonly #clock: () => number;
  #progress: ProgressEvent | undefined;
  /** Steps that are made. */
  #made = 0;
  #reward: number | undefined;
  /** Of the last evaluation. */
  #measured: Readonly<Record<string, number>> = {};

  /** @param clock in seconds */
  constructor(shown: Shown, screen: Screen = process.stderr, clock = () => performance.now() / 1000) {
    [this.#shown, this.#clock] = [shown, clock];
    this.#status = new Status(screen, clock);
    this.#remaining = new Remaining(shown.every);
  }

  take(event: Taken): void {
    switch (event.kind) {
      case 'pace':
        return this.#remaining.know(event.steps, event.evaluation);
      case 'progress':
        return this.#go(event);
      case 'step':
        this.#remaining.end(this.#clock());
        this.#made = event.step;
        this.#reward = event.metrics.reward ?? this.#reward;
        return this.#draw(event.step === 1 || event.step === event.steps);
      case 'eval':
        this.#remaining.end(this.#clock());
        this.#measured = event.metrics;
        return this.message(
          `${event.step === 0 ? 'before training' : `step ${event.step}`}: ${described(event.metrics)}`,
        );
    }
  }

  message(text: string): void {
    this.#status.message(text);
  }

  finish(): void {
    this.#status.finish();
  }

  #go(event: ProgressEvent): void {
    const isEvaluation = event.phase === 'evaluation';
    const before = this.#progress;
    if (event.phase === 'prompt' || (isEvaluation && before?.phase !== 'evaluation')) {
      this.#remaining.begin(isEvaluation, event, this.#clock());
    }
    this.#progress = event;
    this.#made = isEvaluation ? event.step : event.step - 1;
    this.#draw(before?.phase !== event.phase && this.#status.isLive);
  }

  #draw(isDue = false): void {
    if (!this.#progress) return;
    const { phase, step, steps, done, total } = this.#progress;
    const part = total > 0 ? ` ${done}/${total}` : '';
    const left = this.#remaining.left(this.#clock());
    const pace = this.#remaining.secondsPerStep;
    const nAcc = Object.entries(this.#measured).find(([name]) => name === 'nAcc' || name.endsWith('.nAcc'));
    this.#status.show(
      [
        coloured('cyan', bar(this.#made, steps)),
        coloured('bold', `step ${Math.min(steps, step)}/${steps}`),
        `${PHASES[phase]}${part}`,
        left === undefined ? '' : coloured('bold', `${formatDuration(left)} left`),
        this.#reward === undefined ? '' : `reward ${coloured('green', formatNumber(this.#reward))}`,
        nAcc === undefined ? '' : `N-Acc ${coloured('green', formatNumber(nAcc[1]))}`,
        pace === undefined ? '' : `${formatNumber(pace)} s a step`,
        `${this.#made * this.#shown.promptsPerStep} samples`,
      ],
      isDue,
    );
  }
}

/** The first metrics of an evaluation, and its reward. */
function described(metrics: Readonly<Record<string, number>>): string {
  const { reward, ...others } = metrics;
  const first = Object.entries(others).slice(0, 4);
  return [...first, ...(reward === undefined ? [] : [['reward', reward] as const])]
    .map(([name, value]) => `${name} ${formatNumber(value)}`)
    .join('  ');
}
