/** The loop of a pretraining: stages of updates, checkpoints, going on after having been killed. */
import { existsSync, mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';

import type { VisionLanguageModel } from '@visurf/core/internals';
import { noGrad, optim, SafetensorsFile, saveSafetensors, scope, type nn, type Tensor } from '@visurf/torch';

/** Updates between checkpoints. */
const EVERY = 25;

export interface Stage<Name extends string = string> {
  readonly name: Name;
  readonly updates: number;
  /** Pictures per update. */
  readonly images: number;
  readonly learningRate: number;
}

export interface OptimizerPlan {
  readonly warmupSteps: number;
  /** Share of the learning rate that the cosine leaves at the end of a stage. */
  readonly floor: number;
  readonly betas: readonly [number, number];
  readonly weightDecay: number;
  readonly clipNorm: number;
}

export interface UpdateLoss {
  readonly loss: Tensor;
  /** Numbers for the log. */
  readonly report: Readonly<Record<string, number>>;
}

/** What is trained: a model, readers that are thrown away, and the loss of every update. */
export interface Pupil<S extends Stage> {
  readonly model: VisionLanguageModel;
  readonly heads: nn.Module;
  readonly stages: readonly S[];
  readonly optimizer: OptimizerPlan;
  /** Draws the pictures of an update, which depend on nothing but its number; then their loss. */
  lesson(stage: S, update: number): Promise<() => UpdateLoss>;
}

export interface UpdateEvent {
  readonly stage: Stage;
  /** Updates of the stage. */
  readonly done: number;
  /** Seconds of work so far, over all starts. */
  readonly seconds: number;
  readonly report: Readonly<Record<string, number>>;
}

export interface PretrainingOptions {
  /** Updates between checkpoints. */
  readonly checkpointEvery?: number | undefined;
  readonly onUpdate?: ((event: UpdateEvent) => void) | undefined;
}

/** Where a pretraining stands: `update` updates of stage number `stage` are done, after `seconds` of work. */
interface Progress {
  readonly stage: number;
  readonly update: number;
  readonly seconds: number;
}

class Pretraining<S extends Stage> {
  readonly #pupil: Pupil<S>;
  readonly #named: Map<string, Tensor>;
  readonly #directory: string;
  readonly #checkpointEvery: number;
  readonly #onUpdate: PretrainingOptions['onUpdate'];
  #optimizer: optim.AdamW;
  #seconds = 0;

  constructor(directory: string, pupil: Pupil<S>, { checkpointEvery = EVERY, onUpdate }: PretrainingOptions) {
    this.#directory = directory;
    this.#checkpointEvery = checkpointEvery;
    this.#onUpdate = onUpdate;
    this.#pupil = pupil;
    this.#named = new Map([...pupil.model.namedParameters(), ...pupil.heads.namedParameters('heads')]);
    this.#optimizer = this.#newOptimizer();
  }

  async run(): Promise<number> {
    const { stages, model } = this.#pupil;
    const from = this.#restore();
    for (const [number, stage] of stages.entries()) {
      if (number >= from.stage) await this.#runStage(stage, number, number === from.stage ? from.update : 0);
    }
    saveSafetensors(join(this.#directory, 'model.safetensors'), model.namedParameters());
    rmSync(this.#checkpoint, { force: true });
    return this.#seconds;
  }

  async #runStage(stage: S, number: number, from: number): Promise<void> {
    if (from === 0) {
      this.#optimizer.dispose();
      this.#optimizer = this.#newOptimizer();
    }
    let since = performance.now();
    for (let update = from; update < stage.updates; update++) {
      const report = await this.#update(stage, update);
      const done = update + 1;
      const now = performance.now();
      this.#seconds += (now - since) / 1000;
      since = now;
      this.#onUpdate?.({ stage, done, seconds: this.#seconds, report });
      if (done % this.#checkpointEvery === 0) this.#save({ stage: number, update: done, seconds: this.#seconds });
    }
    this.#save({ stage: number + 1, update: 0, seconds: this.#seconds });
  }

  async #update(stage: S, update: number): Promise<Readonly<Record<string, number>>> {
    const { warmupSteps, floor, clipNorm } = this.#pupil.optimizer;
    const lesson = await this.#pupil.lesson(stage, update);
    const schedule = { warmupSteps, decay: 'cosine', floor } as const;
    this.#optimizer.learningRate = stage.learningRate * optim.scheduleFactor(update, stage.updates, schedule);
    this.#optimizer.zeroGrad();
    const report = scope(() => {
      const { loss, report: values } = lesson();
      loss.backward();
      return values;
    });
    optim.clipGradNorm(this.#named.values(), clipNorm);
    this.#optimizer.step();
    return report;
  }

  #newOptimizer(): optim.AdamW {
    const { betas, weightDecay } = this.#pupil.optimizer;
    return new optim.AdamW(this.#named, { learningRate: 0, betas, weightDecay });
  }

  get #checkpoint(): string {
    return join(this.#directory, 'pretraining.safetensors');
  }

  #save({ stage, update, seconds }: Progress): void {
    const tensors = new Map([...this.#named, ...this.#optimizer.state()]);
    saveSafetensors(this.#checkpoint, tensors, {
      stage: String(stage),
      update: String(update),
      seconds: String(seconds),
    });
  }

  #restore(): Progress {
    if (!existsSync(this.#checkpoint)) return { stage: 0, update: 0, seconds: 0 };
    using file = new SafetensorsFile(this.#checkpoint);
    scope(() => noGrad(() => this.#named.forEach((parameter, name) => parameter.copy_(file.get(name)))));
    scope(() => {
      this.#optimizer.loadState(new Map([...this.#optimizer.state().keys()].map((name) => [name, file.get(name)])));
    });
    const { stage, update, seconds } = file.metadata;
    this.#seconds = Number(seconds);
    return { stage: Number(stage), update: Number(update), seconds: Number(seconds) };
  }
}

/**
 * Trains, or goes on with what was begun in the directory, and writes `model.safetensors`. Killed at any time it goes on
 * from its last checkpoint; the result does not depend on that.
 * @returns the seconds of work, over all starts
 */
export function runPretraining<S extends Stage>(
  directory: string,
  pupil: Pupil<S>,
  options: PretrainingOptions,
): Promise<number> {
  mkdirSync(directory, { recursive: true });
  return new Pretraining(directory, pupil, options).run();
}

/** A line of the log now and then. */
export function logUpdate({ stage, done, seconds, report }: UpdateEvent): void {
  if (done % EVERY !== 0) return;
  const values = Object.entries(report).map(([name, value]) => `${name} ${value.toFixed(3)}`);
  console.error(`${stage.name} ${done}/${stage.updates} ${seconds.toFixed(0)} s  ${values.join('  ')}`);
}
