/**
 * One step ahead: rollouts of the next step are sampled with the weights of this one, by servers while the update runs, by
 * the policy itself before it. A checkpoint has those that wait, so that a run goes on with the same.
 */
import { createHash } from 'node:crypto';

import type { Config } from '../config/schema.ts';
import { alone, share, whole, type Processes } from '../distributed/processes.ts';
import { NoiseIds } from '../rollout/groups.ts';
import type { Drawn } from '../rollout/respond.ts';
import { promptParts, stepWork } from '../schedule/paradigm.ts';
import {
  askBatch,
  sampleBatch,
  shareOf,
  type Ahead,
  type Batch,
  type SampledBatch,
  type StepContext,
} from '../step.ts';
import type { Prompt, Rollout } from '../types.ts';
import type { Batches } from './batches.ts';

/** What waits, as a checkpoint has it. */
export interface SavedAhead {
  /** Of the samples. */
  readonly indices: readonly number[];
  /** None where they could not be had. */
  readonly rollouts: readonly (readonly Drawn[])[];
  /** What was asked, and how it was answered, by prompt; absent in checkpoints of earlier versions. */
  readonly prints?: readonly string[] | undefined;
}

/** Of a prompt as the model sees it, with the settings that its rollouts were sampled by. */
function printOf({ rollout }: Config, { rendered, inputIds, pixelValues }: Prompt): string {
  const { temperature, topP, topK, repetitionPenalty, maxNewTokens } = rollout;
  const settings = [temperature, topP, topK, repetitionPenalty, maxNewTokens];
  const hash = createHash('sha256').update(JSON.stringify([settings, rendered, inputIds]));
  return (pixelValues ? hash.update(pixelValues) : hash).digest('hex');
}

const drawn = ({ tokens, logProbs, stop }: Rollout): Drawn => ({ tokens: [...tokens], logProbs: [...logProbs], stop });

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
  readonly #onWarning: (message: string) => void;
  #waiting: Waiting | undefined;

  /** @param saved for the step after `step` */
  constructor(
    context: StepContext,
    batches: Batches,
    onWarning: (message: string) => void,
    { step, saved }: { readonly step: number; readonly saved: SavedAhead | undefined },
  ) {
    this.#context = context;
    this.#batches = batches;
    this.#processes = context.processes ?? alone;
    this.#onWarning = onWarning;
    if (!saved) return;
    this.#waiting = {
      step: step + 1,
      sampled: () => this.#restored(saved, step + 1),
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
    const batch = await this.#batches.draw();
    const sampled = await this.#processes.together(async () => {
      // Servers are given the weights at once, before this returns: they may move then.
      const { signal: _, ...unstopped } = this.#context;
      const sampling = await this.#sampling(batch, next, sampler ? unstopped : this.#context);
      const result = held(sampling.result);
      if (!sampler) await result;
      return { result };
    });
    this.#waiting = {
      step: next,
      sampled: () => sampled.result,
      saved: () => this.#savedOf(batch, sampled.result),
    };
  }

  /** Comes back when this process's share of a batch is being sampled. */
  async #sampling(
    batch: Batch,
    step: number,
    context: StepContext,
  ): Promise<{ readonly result: Promise<SampledBatch> }> {
    const { indices } = batch;
    const processes = this.#processes;
    const questions = await askBatch(context, shareOf(processes, batch));
    const sizes = share(processes, promptParts(stepWork(context.config, step))).map(({ rollouts }) => rollouts);
    const promptIds = share(processes, new NoiseIds().next(indices));
    const rollouts = sampleBatch(context, questions, promptIds, sizes, step);
    return { result: rollouts.then((all) => ({ indices, questions, rollouts: all })) };
  }

  /** What a checkpoint has, where it answers what would be asked now: a run may go on with other data or settings. */
  async #restored({ indices, rollouts, prints }: SavedAhead, step: number): Promise<SampledBatch> {
    const processes = this.#processes;
    const { config, policy } = this.#context;
    const parts = promptParts(stepWork(config, step));
    const batch = indices.length === parts.length ? await this.#batches.again(indices) : undefined;
    if (batch && parts.every((part, i) => rollouts[i]?.length === part.rollouts)) {
      const questions = await askBatch(this.#context, shareOf(processes, batch));
      const asked = prints && share(processes, prints);
      const isSame = questions.every(({ prompt }, i) => asked === undefined || asked[i] === printOf(config, prompt));
      if ((await processes.gather(isSame)).every(Boolean)) {
        const own = share(processes, rollouts);
        return { indices, questions, rollouts: own.map((group) => group.map((each) => policy.encoder.rollout(each))) };
      }
    }
    if (rollouts.length > 0)
      this.#onWarning(
        'what was sampled ahead answers other prompts than there are now, or was sampled otherwise: it is sampled again',
      );
    return (await this.#sampling(batch ?? (await this.#batches.draw()), step, this.#context)).result;
  }

  /** Without rollouts where they failed: whoever takes them hears of that, and what is saved is not to be lost by it. */
  async #savedOf({ indices }: Batch, sampled: Promise<SampledBatch>): Promise<SavedAhead> {
    const print = (prompt: Prompt): string => printOf(this.#context.config, prompt);
    const own = await sampled.then(
      ({ questions, rollouts }) =>
        rollouts.map((group, i) => ({ print: print(questions[i]!.prompt), group: group.map(drawn) })),
      () => undefined,
    );
    const shares = await this.#processes.gather(own);
    const all = shares.includes(undefined) ? [] : whole(shares.map((share) => share!));
    return { indices, rollouts: all.map(({ group }) => group), prints: all.map(({ print }) => print) };
  }
}

/** A promise whose failure is heard of by whoever waits for it, later. */
function held<T>(promise: Promise<T>): Promise<T> {
  promise.catch(() => undefined);
  return promise;
}
