/** `visurf plan`: what a run will need of this machine, before it starts. */
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { freemem } from 'node:os';
import path from 'node:path';

import { nn, ones, scope, setNumThreads } from '@visurf/torch';

import type { Config } from './config/schema.ts';
import { loadDataset } from './data/dataset.ts';
import { localModel, type HubOptions } from './hub/model.ts';
import { labelTexts } from './label/align.ts';
import { productRate } from './machine.ts';
import { loadModelConfig, type ModelConfig } from './model/config.ts';
import { chosenModules } from './model/lora.ts';
import { QwenVL } from './model/qwen.ts';
import { projections, type Precision } from './model/projection.ts';
import { advise, dominant, type Advice } from './plan/advice.ts';
import { planMemory, type MemoryPlan, type Part } from './plan/memory.ts';
import { planTime, type Rates, type TimePlan } from './plan/time.ts';
import type { Sizes, Workload } from './plan/workload.ts';
import { PromptEncoder } from './prompt/encoder.ts';
import { makeScorer } from './reward/reward.ts';
import { stepTerms } from './schedule/paradigm.ts';
import { ask } from './step.ts';
import { makeTask } from './train.ts';

export interface PlanOptions extends HubOptions {
  /** Bytes of memory to fit in; unset: what is free here. */
  readonly memory?: number | undefined;
  /** Rate of products in 10^9 operations per second; unset: measured here. */
  readonly gflops?: number | undefined;
  /** Tokens of a response; unset: the longest allowed. */
  readonly responseTokens?: number | undefined;
}

export interface Plan {
  readonly memory: MemoryPlan;
  readonly time: TimePlan;
  /** Seconds for all steps. */
  readonly total: number;
  readonly steps: number;
  readonly parameters: Pick<Sizes, 'all' | 'trainable'>;
  readonly workload: Workload;
  readonly available: number;
  readonly fits: boolean;
  readonly dominant: Part;
  /** What would lower the peak. */
  readonly advice: readonly Advice[];
}

/** Samples that stand for the dataset. */
const sampled = 64;

/** Predicts peak memory and time of a run. @throws UserError as training would */
export async function plan(config: Config, options: PlanOptions = {}): Promise<Plan> {
  if (config.threads !== undefined) setNumThreads(config.threads);
  const directory = await localModel(config.model, { ...options, revision: config.revision, weights: false });
  const model = loadModelConfig(directory);
  const workload = await workloadOf(config, directory, options.responseTokens);
  const sizes = sizesOf(model, directory, config.train);
  const frozenVision = config.train.freezeVision || (config.train.lora !== undefined && !config.train.lora.vision);
  const subject = { model, sizes, workload, config, frozenVision };
  const program = programBytes();
  const memory = planMemory(subject, program);
  const time = planTime(
    subject,
    options.gflops === undefined ? measuredRates(config.precision) : givenRates(options.gflops),
  );
  const available = options.memory ?? availableMemory() + program;
  return {
    memory,
    time,
    total: time.step * config.steps,
    steps: config.steps,
    parameters: { all: sizes.all, trainable: sizes.trainable },
    workload,
    available,
    fits: memory.peak <= available,
    dominant: dominant(memory),
    advice: advise(subject, program),
  };
}

/** The longest prompts and labels of the dataset's first samples; of every step the one with most to do. */
async function workloadOf(config: Config, directory: string, responseTokens?: number): Promise<Workload> {
  const samples = await loadDataset(config.data.train, {
    task: config.data.task,
    truths: (all) => makeTask(config, all),
  });
  const encoder = PromptEncoder.load(directory, config.data);
  const scorer = makeScorer(makeTask(config, samples));
  let [promptTokens, patches, labelTokens] = [0, 0, 0];
  for (const sample of samples.slice(0, sampled)) {
    const { prompt, truth, frames } = await ask({ ...config.data, policy: { encoder }, scorer }, sample);
    promptTokens = Math.max(promptTokens, prompt.inputIds.length);
    patches = Math.max(
      patches,
      prompt.imageGridThw.reduce((sum, [t, h, w]) => sum + t * h * w, 0),
    );
    const labels = labelTexts(scorer.task, truth, frames).map(({ text }) => encoder.encodeResponse(text).length);
    labelTokens = Math.max(labelTokens, ...labels);
  }
  // What the last step does; the first steps of sft-then-rlvr need less.
  const { rollouts: group, label } = stepTerms(config, config.steps);
  const longest = Math.max(group > 0 ? (responseTokens ?? config.rollout.maxNewTokens) : 0, label ? labelTokens : 0);
  return {
    prompts: config.promptsPerStep,
    microBatch: Math.min(config.train.microBatch.prompts, config.promptsPerStep),
    promptTokens,
    patches,
    group,
    responses: group + (label ? 1 : 0),
    responseTokens: longest,
    images: new Set(samples.flatMap(({ images }) => images)).size,
  };
}

const count = (shape: readonly number[]): number => shape.reduce((a, b) => a * b, 1);

/** Counts parameters on an outline of the model, which takes no memory. */
function sizesOf(config: ModelConfig, directory: string, { lora, freezeVision }: Config['train']): Sizes {
  return scope(() => {
    const model = nn.outline(() => new QwenVL(config));
    const named = [...model.namedParameters()];
    const sum = (chosen: (key: string) => boolean): number =>
      named.reduce((total, [key, { shape }]) => (chosen(key) ? total + count(shape) : total), 0);
    const layers = [...projections(model)];
    const inLayers = (chosen: (key: string) => boolean): number =>
      layers.reduce((total, [key, { weight }]) => (chosen(key) ? total + count(weight.shape) : total), 0);
    const all = sum(() => true);
    const isTrained = (key: string): boolean => !freezeVision || !key.startsWith('visual.');
    let [trainable, trainedProjections] = [sum(isTrained), inLayers(isTrained)];
    if (lora) {
      const adapted = new Set(chosenModules(model, lora));
      const shapes = layers.filter(([key]) => adapted.has(key)).map(([, { weight }]) => weight.shape);
      trainable = shapes.reduce((total, [outputs = 0, inputs = 0]) => total + lora.rank * (outputs + inputs), 0);
      trainedProjections = trainable;
    }
    const isTable = (key: string): boolean => key === 'lm_head.weight' || key === 'model.embed_tokens.weight';
    const sizes: Sizes = {
      all,
      trainable,
      projections: inLayers(() => true),
      trainedProjections,
      vision: sum((key) => key.startsWith('visual.')),
      tables: sum(isTable),
      file: fileBytes(directory) ?? 4 * all,
    };
    model.dispose();
    return sizes;
  });
}

/** Of the weights on the disk; undefined for a model of the hub that is not there yet. */
function fileBytes(directory: string): number | undefined {
  const files = readdirSync(directory).filter((name) => /^model.*\.safetensors$/.test(name));
  if (files.length === 0) return undefined;
  return files.reduce((sum, name) => sum + statSync(path.join(directory, name)).size, 0);
}

/** Resident memory of this process, in which the library is loaded and has nothing to do. */
const programBytes = (): number => process.memoryUsage.rss();

/** What can be had without swapping. */
function availableMemory(): number {
  try {
    return Number(/^MemAvailable:\s+(\d+) kB/m.exec(readFileSync('/proc/meminfo', 'utf8'))?.[1]) * 1024;
  } catch {
    return freemem();
  }
}

const call = 4e-6;
const givenRates = (gflops: number): Rates => ({ product: (rows) => gflops * 1e9 * Math.min(1, rows / 64), call });

/** Rates of products with 2^k rows are measured when they are asked for. */
function measuredRates(precision: Precision): Rates {
  const known = new Map<number, number>();
  const product = (rows: number): number => {
    const size = 2 ** Math.min(10, Math.max(0, Math.round(Math.log2(rows))));
    const rate = known.get(size) ?? productRate(precision, size) * 1e9;
    known.set(size, rate);
    return rate;
  };
  return { product, call: callSeconds() };
}

/** Of a small operator. */
function callSeconds(): number {
  return scope(() => {
    const x = ones([64, 64]);
    const calls = 2000;
    const start = performance.now();
    for (let i = 0; i < calls; i++) x.add(x).dispose();
    return (performance.now() - start) / calls / 1000;
  });
}
