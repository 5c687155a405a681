/**
 * One step ahead: rollouts of the next step are sampled with the weights of this one, by servers while the update runs, by
 * the policy itself before it. A checkpoint has those that wait, so that a run goes on with the same.
 */
import type { Drawn } from '../rollout/respond.ts';
import { promptParts, stepWork } from '../schedule/paradigm.ts';
import { askBatch, sampleBatch, type Ahead, type Batch, type SampledBatch, type StepContext } from '../step.ts';
import type { Batches } from './batches.ts';

/** What waits, as a checkpoint has it. */
export interface SavedAhead {
  /** Of the samples. */
  readonly indices: readonly number[];
  readonly rollouts: readonly (readonly Drawn[])[];
}

interface Waiting {
  readonly step: number;
  readonly batch: Batch;
  readonly sampled: Promise<SampledBatch>;
}

export class SampledAhead implements Ahead {
  readonly #context: StepContext;
  readonly #batches: Batches;
  #waiting: Waiting | undefined;

  /** @param saved for the step after `step` */
  constructor(context: StepContext, batches: Batches, step: number, saved: SavedAhead | undefined) {
    this.#context = context;
    this.#batches = batches;
    if (!saved) return;
    const batch = batches.again(saved.indices);
    this.#waiting = { step: step + 1, batch, sampled: held(this.#restored(batch, saved)) };
  }

  /** What waits now; asked for the form in which it is kept once that is needed. */
  get waiting(): (() => Promise<SavedAhead>) | undefined {
    const waiting = this.#waiting;
    return waiting && (async () => savedOf(waiting));
  }

  take(step: number): Promise<SampledBatch> | undefined {
    const waiting = this.#waiting;
    if (waiting?.step !== step) return undefined;
    this.#waiting = undefined;
    return waiting.sampled;
  }

  async begin(step: number): Promise<void> {
    const { config, sampler } = this.#context;
    if (step === config.steps) return;
    const next = step + 1;
    const sizes = promptParts(stepWork(config, next)).map(({ rollouts }) => rollouts);
    const batch = this.#batches.draw();
    const questions = await askBatch(this.#context, batch);
    // Servers are given the weights at once, before this returns: they may move then.
    const { signal: _, ...whole } = this.#context;
    const rollouts = sampleBatch(sampler ? whole : this.#context, questions, batch, sizes, next);
    this.#waiting = { step: next, batch, sampled: held(rollouts.then((all) => ({ questions, rollouts: all }))) };
    if (!sampler) await rollouts;
  }

  async #restored(batch: Batch, { rollouts }: SavedAhead): Promise<SampledBatch> {
    const { encoder } = this.#context.policy;
    const questions = await askBatch(this.#context, batch);
    return { questions, rollouts: rollouts.map((group) => group.map((each) => encoder.rollout(each))) };
  }
}

async function savedOf({ batch, sampled }: Waiting): Promise<SavedAhead> {
  const { rollouts } = await sampled;
  return {
    indices: batch.indices,
    rollouts: rollouts.map((group) =>
      group.map(({ tokens, logProbs, stop }) => ({ tokens: [...tokens], logProbs: [...logProbs], stop })),
    ),
  };
}

/** A promise whose failure is heard of by whoever waits for it, later. */
function held<T>(promise: Promise<T>): Promise<T> {
  promise.catch(() => undefined);
  return promise;
}
