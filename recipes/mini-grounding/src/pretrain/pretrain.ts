/**
 * Makes the base model: `node src/pretrain/pretrain.ts [directory] [--threads N]`. Killed at any time it goes on from
 * its last checkpoint when it is started again; the result does not depend on that.
 */
import { existsSync, mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';

import { loadImageSettings, parseModelConfig, QwenVL } from '@visurf/core/internals';
import {
  manualSeed,
  noGrad,
  optim,
  SafetensorsFile,
  saveSafetensors,
  scope,
  setNumThreads,
  type Tensor,
} from '@visurf/torch';

import { modelConfig, writeCheckpointFiles } from '../checkpoint.ts';
import { Heads } from './heads.ts';
import { initialize } from './initialize.ts';
import { thisCpu, writeMeasured } from './measure.ts';
import { PLAN, type PretrainPlan, type Stage } from './plan.ts';
import { readLoss, seeLoss, type Parts } from './update.ts';

/** Updates between checkpoints and between lines of the log. */
const EVERY = 25;

export interface PretrainOptions {
  readonly plan?: PretrainPlan;
  /** Updates between checkpoints. */
  readonly checkpointEvery?: number;
  readonly onUpdate?: (event: UpdateEvent) => void;
}

export interface UpdateEvent {
  readonly stage: Stage;
  /** Updates of the stage. */
  readonly done: number;
  /** Of work so far, over all starts. */
  readonly seconds: number;
  readonly report: Readonly<Record<string, number>>;
}

/** Where a pretraining stands: `update` updates of stage number `stage` are done, after `seconds` of work. */
interface Progress {
  readonly stage: number;
  readonly update: number;
  readonly seconds: number;
}

class Pretraining {
  readonly #parts: Parts;
  readonly #named: Map<string, Tensor>;
  readonly #directory: string;
  readonly #checkpointEvery: number;
  readonly #onUpdate: PretrainOptions['onUpdate'];
  #optimizer: optim.AdamW;
  #seconds = 0;

  constructor(directory: string, { plan = PLAN, checkpointEvery = EVERY, onUpdate }: PretrainOptions) {
    writeCheckpointFiles(directory);
    manualSeed(plan.seed);
    const model = new QwenVL(parseModelConfig(modelConfig));
    const { vision, text } = model.config;
    const heads = new Heads(vision.hiddenSize, text.hiddenSize);
    initialize(model, plan.seed);
    this.#directory = directory;
    this.#checkpointEvery = checkpointEvery;
    this.#onUpdate = onUpdate;
    this.#parts = { model, heads, plan, settings: loadImageSettings(directory) };
    this.#named = new Map([...model.namedParameters(), ...heads.namedParameters('heads')]);
    this.#optimizer = this.#newOptimizer();
  }

  run(): number {
    const { plan } = this.#parts;
    const from = this.#restore();
    plan.stages.slice(from.stage).forEach((stage, i) => {
      const number = from.stage + i;
      this.#runStage(stage, number, i === 0 ? from.update : 0);
    });
    saveSafetensors(join(this.#directory, 'model.safetensors'), this.#parts.model.namedParameters());
    rmSync(this.#checkpoint, { force: true });
    return this.#seconds;
  }

  #runStage(stage: Stage, number: number, from: number): void {
    if (from === 0) {
      this.#optimizer.dispose();
      this.#optimizer = this.#newOptimizer();
    }
    let since = performance.now();
    for (let update = from; update < stage.updates; update++) {
      const report = this.#update(stage, update);
      const done = update + 1;
      const now = performance.now();
      this.#seconds += (now - since) / 1000;
      since = now;
      this.#onUpdate?.({ stage, done, seconds: this.#seconds, report });
      if (done % this.#checkpointEvery === 0) this.#save({ stage: number, update: done, seconds: this.#seconds });
    }
    this.#save({ stage: number + 1, update: 0, seconds: this.#seconds });
  }

  #update(stage: Stage, update: number): Readonly<Record<string, number>> {
    const { plan } = this.#parts;
    const schedule = { warmupSteps: plan.warmupSteps, decay: 'cosine', floor: plan.floor } as const;
    this.#optimizer.learningRate = stage.learningRate * optim.scheduleFactor(update, stage.updates, schedule);
    this.#optimizer.zeroGrad();
    const report = scope(() => {
      const { loss, report: values } = (stage.name === 'see' ? seeLoss : readLoss)(this.#parts, stage, update);
      loss.backward();
      return values;
    });
    optim.clipGradNorm(this.#named.values(), plan.clipNorm);
    this.#optimizer.step();
    return report;
  }

  #newOptimizer(): optim.AdamW {
    const { betas, weightDecay } = this.#parts.plan;
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
 * Writes the base model to `directory`, or goes on with one that is being made there.
 * @returns the seconds of work, over all starts
 */
export function pretrain(directory: string, options: PretrainOptions = {}): number {
  mkdirSync(directory, { recursive: true });
  return new Pretraining(directory, options).run();
}

function log({ stage, done, seconds, report }: UpdateEvent): void {
  if (done % EVERY !== 0) return;
  const values = Object.entries(report).map(([name, value]) => `${name} ${value.toFixed(3)}`);
  console.error(`${stage.name} ${done}/${stage.updates} ${seconds.toFixed(0)} s  ${values.join('  ')}`);
}

if (import.meta.main) {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: { threads: { type: 'string', default: '2' } },
  });
  setNumThreads(Number(values.threads));
  const directory = positionals[0] ?? join(import.meta.dirname, '../../base');
  const seconds = Math.round(pretrain(directory, { onUpdate: log }));
  console.log(await writeMeasured(directory, { seconds, threads: Number(values.threads), cpu: thisCpu() }));
}
