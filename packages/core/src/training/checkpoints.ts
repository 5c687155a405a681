/** Checkpoints of a training: their files, which of them is the last, and the way back to it. */
import { saveSafetensors, type optim } from '@visurf/torch';

import { fileError, messageOf, NotFinite, Spoiled, UserError } from '../errors.ts';
import { withExperiment } from '../export/experiment.ts';
import { modelFiles } from '../export/huggingface.ts';
import { adapterFiles } from '../model/peft.ts';
import type { CheckpointContent } from '../run/checkpoint.ts';
import { optimizerFile, restore } from '../start.ts';
import { ShardedOptimizer } from '../update/sharded-optimizer.ts';
import type { SavedAhead } from './ahead.ts';
import type { Progress, Training } from './types.ts';

type Kept = Omit<Progress, 'data' | 'model' | 'ahead'> & {
  /** Gives what waits for the next step. */
  readonly waiting?: (() => Promise<SavedAhead>) | undefined;
};

interface CheckpointSource extends Training {
  readonly optimizer: optim.Optimizer;
  readonly onWarning: (message: string) => void;
}

export class Checkpoints {
  readonly #source: CheckpointSource;
  readonly #files: CheckpointContent['files'];
  /** Of the last one, or of the start of the run. */
  #step: number;
  #directory: string;
  /** Whether all that were begun are whole. */
  #isIntact = true;

  constructor(source: CheckpointSource) {
    const { policy, config, experiment, optimizer, checkpoint } = source;
    const isSharded = optimizer instanceof ShardedOptimizer;
    this.#source = source;
    this.#step = checkpoint?.step ?? 0;
    this.#directory = checkpoint?.directory ?? '';
    this.#files = {
      // From the first model: the checkpoint that a resumed run was loaded from is removed in time.
      ...withExperiment(
        policy.peft
          ? adapterFiles(policy.model, policy.peft)
          : modelFiles(policy.model, config.model, isSharded ? optimizer.wholeMasters() : undefined),
        policy.model.config.family,
        experiment.settings,
      ),
      [optimizerFile]: (file: string) => {
        if (isSharded) optimizer.save(file);
        else saveSafetensors(file, optimizer.state());
      },
    };
  }

  /** The directory of the last one. */
  get directory(): string {
    return this.#directory;
  }

  hasStep(step: number): boolean {
    return this.#step === step;
  }

  async save(step: number, kept: Kept, best?: { metric: string; value: number }): Promise<void> {
    const { run, prints, modelPrint, onEvent } = this.#source;
    const { evaluates, waiting, ...own } = kept;
    const ahead = await waiting?.();
    const facts = { data: prints, model: modelPrint };
    const state: Progress = { ...own, ...facts, ...(evaluates && { evaluates }), ...(ahead && { ahead }) };
    this.#isIntact = false;
    const path = await this.#together(() => run.saveCheckpoint(step, { files: this.#files, state }, best));
    [this.#isIntact, this.#step, this.#directory] = [true, step, path];
    onEvent({ kind: 'checkpoint', step, path });
  }

  /** The first process writes; the others give it what it does not have. */
  async #together<T>(write: () => Promise<T>): Promise<T> {
    const { optimizer, processes } = this.#source;
    if (!(optimizer instanceof ShardedOptimizer)) return await write();
    if (processes.rank > 0) {
      await optimizer.serve();
      return await write();
    }
    try {
      return await write();
    } finally {
      optimizer.dismiss();
    }
  }

  /** After a failure that leaves the weights as they were: what was done since the last checkpoint is not lost. */
  async rescue(step: number, kept: Kept, failure: unknown): Promise<void> {
    const isWhole = this.#isIntact && this.#source.config.objective.updatesPerBatch === 1;
    if (!(fileError(failure) instanceof UserError) || !isWhole || this.hasStep(step)) return;
    const causes = failure instanceof UserError ? [failure, failure.cause] : [];
    if (causes.some((each) => each instanceof Spoiled)) return;
    // The others are where this one is only in what befalls all.
    const isOwn = !causes.some((each) => each instanceof NotFinite);
    const { optimizer, processes } = this.#source;
    const needsOthers = optimizer instanceof ShardedOptimizer || (processes.size > 1 && kept.waiting !== undefined);
    if (isOwn && needsOthers) return;
    try {
      await this.save(step, kept);
    } catch (cause) {
      this.#say(messageOf(cause));
    }
  }

  /** Whatever becomes of the log: the failure that the run ends with is another. */
  #say(message: string): void {
    try {
      this.#source.onWarning(message);
    } catch {
      // It was said, and could not be written.
    }
  }

  /** Gives weights and optimiser what the last one holds. */
  rollBack(): void {
    restore(this.#source.policy, this.#source.optimizer, this.#directory);
  }
}
