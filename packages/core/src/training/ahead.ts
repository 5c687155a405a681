/**
 * One step ahead: rollouts of the next step are sampled with the weights of this one, by servers while the update runs, by
 * the policy itself before it. A checkpoint has those that wait, so that a run goes on with the same.
 */
import { alone, share, whole, type Processes } from '../distributed/processes.ts';
import { NoiseIds } from '../rollout/groups.ts';
import type { Drawn } from '../rollout/respond.ts';
import { promptParts, stepWork } from '../schedule/paradigm.ts';
import { askBatch, sampleBatch, shareOf, type Ahead, type SampledBatch, type StepContext } from '../step.ts';
import type { Batches } from './batches.ts';

/** What waits, as a checkpoint has it. */
export interface SavedAhead {
  /** Of the samples. */
  readonly indices: readonly number[];
  readonly rollouts: readonly (readonly Drawn[])[];
}

interface Waiting {
  readonly step: number;
  /** This process's share. */
  readonly sampled: () => Promise<SampledBatch>;
  readonly saved: () => Promise<SavedAhead>;
}

export class SampledAhead implements Ahead {
  readonly #context: StepContext;
  readonly #batches: Batches;
  readonly #processes: Processes;
  #waiting: Waiting | undefined;

  /** @param saved for the step after `step` */
  constructor(context: StepContext, batches: Batches, step: number, saved: SavedAhead | undefined) {
    this.#context = context;
    this.#batches = batches;
    this.#processes = context.processes ?? alone;
    if (!saved) return;
    this.#waiting = {
      step: step + 1,
      sampled: () => this.#restored(saved),
      saved: () => Promise.resolve(saved),
    };
  }

  /** What waits now; asked for the form in which it is kept once that is needed, by all processes. */
  get waiting(): (() => Promise<SavedAhead>) | undefined {
    return this.#waiting?.saved;
  }

  has(step: number): boolean {
    return this.#waiting?.step === step;
  }

  take(): Promise<SampledBatch> {
    const waiting = this.#waiting!;
    this.#waiting = undefined;
    return waiting.sampled();
  }

  async begin(step: number): Promise<void> {
    const { config, sampler } = this.#context;
    if (step === config.steps) return;
    const next = step + 1;
    const processes = this.#processes;
    const parts = share(processes, promptParts(stepWork(config, next)));
    const batch = await this.#batches.draw();
    const { indices } = batch;
    const own = shareOf(processes, batch);
    const promptIds = share(processes, new NoiseIds().next(indices));
    const sampled = await processes.together(async () => {
      const questions = await askBatch(this.#context, own);
      // Servers are given the weights at once, before this returns: they may move then.
      const { signal: _, ...unstopped } = this.#context;
      const sizes = parts.map(({ rollouts }) => rollouts);
      const rollouts = sampleBatch(sampler ? unstopped : this.#context, questions, promptIds, sizes, next);
      const result = held(rollouts.then((all) => ({ indices, questions, rollouts: all })));
      if (!sampler) await result;
      return { result };
    });
    this.#waiting = {
      step: next,
      sampled: () => sampled.result,
      saved: () => this.#savedOf(sampled.result),
    };
  }

  async #restored({ indices, rollouts }: SavedAhead): Promise<SampledBatch> {
    const processes = this.#processes;
    const { encoder } = this.#context.policy;
    const batch = await this.#batches.again(indices);
    const questions = await askBatch(this.#context, shareOf(processes, batch));
    const own = share(processes, rollouts);
    return { indices, questions, rollouts: own.map((group) => group.map((each) => encoder.rollout(each))) };
  }

  async #savedOf(sampled: Promise<SampledBatch>): Promise<SavedAhead> {
    const { indices, rollouts } = await sampled;
    const own = rollouts.map((group) =>
      group.map(({ tokens, logProbs, stop }) => ({ tokens: [...tokens], logProbs: [...logProbs], stop })),
    );
    return { indices, rollouts: whole(await this.#processes.gather(own)) };
  }
}

/** A promise whose failure is heard of by whoever waits for it, later. */
function held<T>(promise: Promise<T>): Promise<T> {
  promise.catch(() => undefined);
  return promise;
}
