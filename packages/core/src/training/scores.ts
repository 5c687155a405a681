/** The evaluations of a run by their reward: which was the best, and whether another one may still be better. */
import type { Metrics } from './types.ts';

/** An evaluation; that of step 0 is the base's. */
export interface Score {
  readonly step: number;
  readonly metrics: Metrics;
}

export class Scores {
  readonly #patience: number;
  readonly #all: { readonly step: number; readonly reward: number }[] = [];

  /** @param patience evaluations in a row that may be no better; undefined: any number */
  constructor(patience: number | undefined, past: readonly Score[] = []) {
    this.#patience = patience ?? Infinity;
    for (const { step, metrics } of past) this.add(step, metrics);
  }

  add(step: number, { reward = 0 }: Metrics): void {
    this.#all.push({ step, reward });
  }

  /** Whether the last evaluations, as many as patience says, were no better than one before them. */
  get areExhausted(): boolean {
    return this.#all.length - 1 - this.#bestPlace >= this.#patience;
  }

  get described(): string {
    const { step = 0, reward = 0 } = this.#all[this.#bestPlace] ?? {};
    const since = this.#all.length - 1 - this.#bestPlace;
    return `no better reward in ${since} evaluations: the best is ${shown(reward)}, of ${nameOf(step)}`;
  }

  /** What is to be said where training did not help: none of its evaluations is better than the base's. */
  get warning(): string | undefined {
    const [base, ...trained] = this.#all;
    if (base?.step !== 0 || trained.length === 0) return undefined;
    const best = Math.max(...trained.map(({ reward }) => reward));
    if (best > base.reward) return undefined;
    return (
      `training did not make it better: the reward on data.validation is ${shown(best)} at best, the base has ` +
      `${shown(base.reward)}. What helps: another optimizer.learningRate, more steps, or a look at groups/ and report.html`
    );
  }

  /** The first with the highest reward. */
  get #bestPlace(): number {
    return this.#all.reduce((best, { reward }, i) => (reward > (this.#all[best]?.reward ?? -Infinity) ? i : best), 0);
  }
}

const shown = (value: number): string => String(Number(value.toPrecision(4)));
const nameOf = (step: number): string => (step === 0 ? 'the base' : `step ${step}`);
