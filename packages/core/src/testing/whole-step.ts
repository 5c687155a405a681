/** A whole step of training on a device: prompts, prefill, decoding, sampling, rewards, scores, backward, optimiser. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

import { observeCalls, type Device } from '@visurf/torch';
import { standInKernels } from '@visurf/torch/testing';

import { parseConfig } from '../config/load.ts';
import { alone, type Processes } from '../distributed/processes.ts';
import type { Family } from '../families/index.ts';
import { loadModelConfig } from '../families/config.ts';
import { loadModel, type LoadOptions } from '../families/load.ts';
import type { VisionLanguageModel } from '../model/vlm.ts';
import type { ObservePhase } from '../run/phases.ts';
import { Policy } from '../policy.ts';
import { PromptEncoder } from '../prompt/encoder.ts';
import { loadData } from '../question/training.ts';
import { stepWork } from '../schedule/paradigm.ts';
import type { StepResult } from '../run/record.ts';
import { trainStep } from '../step.ts';
import { openLearner } from '../training/learner.ts';
import { configurationNames, openConfiguration } from './configurations.ts';
import { fixtures, tinyModel } from './oracle.ts';

const checkpoints = [tinyModel, ...configurationNames.map((name) => openConfiguration(name).model)];

/** A small checkpoint of a family. */
export function smallModel(family: Family): string {
  const found = checkpoints.find((each) => loadModelConfig(each).family === family);
  if (found === undefined) throw new Error(`${family.title} has no checkpoint among the fixtures`);
  return found;
}

/** Settings whose step takes other ways through the engine. */
export const variants: Readonly<Record<string, Record<string, unknown>>> = {
  plain: {},
  LoRA: { train: { lora: { rank: 2, dropout: 0.1, vision: true } } },
  'frozen tower': { train: { freezeVision: true } },
  recomputed: { train: { checkpointActivations: true } },
  offloaded: { train: { checkpointActivations: true, offloadActivations: true } },
  bfloat16: { precision: 'bfloat16' },
  'bfloat16 stream': { precision: 'bfloat16', stream: 'bfloat16' },
  'several updates': { objective: { updatesPerBatch: 2, kl: { coefficient: 0.1 } } },
  'four bits': { precision: 'bfloat16', train: { lora: { rank: 2, quantize: 'nf4' } } },
  '8-bit moments': { optimizer: { states: '8bit' } },
  'other sampling': {
    rollout: { topP: 0.9, topK: 20, repetitionPenalty: 1.1, allowTruncatedSampling: true },
    optimizer: { name: 'sgd' },
  },
};

const sample = (image: string, i: number) => ({
  id: `sample-${i}`,
  image: path.join(fixtures, 'images', image),
  problem: i === 0 ? 'the red circle' : 'the other one, which is blue',
  solution: i === 0 ? [{ bbox_2d: [2, 3, 20, 30] }] : [],
});

export interface StepOptions {
  readonly dtype?: LoadOptions['dtype'];
  /** Takes the names of all operators that the step asks of the stand-in. */
  readonly asked?: Set<string>;
  /** Sees the model before the step, and gives what sees its phases. */
  readonly observe?: (model: VisionLanguageModel) => ObservePhase;
  /** Whether every parameter is given back. */
  readonly parameters?: boolean;
  readonly processes?: Processes;
}

/** @returns what the step found, and every parameter afterwards */
export async function wholeStep(
  model: string,
  device: Device,
  variant: Record<string, unknown>,
  { dtype, asked, observe, parameters: wanted = true, processes = alone }: StepOptions = {},
): Promise<StepResult & { readonly parameters: Record<string, number[]> }> {
  const folder = mkdtempSync(path.join(tmpdir(), 'visurf-step-'));
  try {
    const train = path.join(folder, 'train.jsonl');
    const lines = ['small-40x40.png', 'flat-90x60.png'].map((image, i) => JSON.stringify(sample(image, i)));
    writeFileSync(train, lines.join('\n'));
    const { rollout, data, ...changes } = variant as { rollout?: object; data?: object };
    const config = parseConfig({
      ...{ model, output: path.join(folder, 'run'), steps: 1, promptsPerStep: 2 },
      rollout: { group: 3, maxNewTokens: 6, ...rollout },
      ...changes,
      data: { train, prompt: 'find {Question}', ...data },
    });
    const { samples, experiment } = await loadData({ ...config, data: { ...config.data, allowOutside: true } });
    const { quantize } = config.train.lora ?? {};
    const loaded = loadModel(model, { device, dtype, quantize });
    using policy = new Policy(model, loaded, PromptEncoder.load(model, config.data));
    policy.model.precision = config.precision;
    policy.model._stream = config.stream;
    if (config.train.lora) policy.addAdapter(config.train.lora, 1);
    using learner = openLearner(policy, config, undefined, processes);
    const onPhase = observe?.(policy.model);
    const context = { config, policy, learner, scorer: experiment.scorer, onPhase, processes };
    const draw = () => ({ samples: samples.slice(), indices: [...Array(samples.length).keys()] });
    const step = () => trainStep(context, draw, 1, stepWork(config, 1), 1e-3, []);
    const result = asked ? await observed(asked, step) : await step();
    const after = (wanted ? [...learner.parameters] : []).map(([key, each]) => [key, each.toArray()] as const);
    return { ...result, parameters: Object.fromEntries(after) };
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** Operators as we call them, and kernels that they and their gradients come down to. */
async function observed<T>(asked: Set<string>, body: () => Promise<T>): Promise<T> {
  standInKernels();
  const stop = observeCalls((operator) => operator !== 'backward' && operator !== 'grad' && asked.add(operator));
  try {
    return await body();
  } finally {
    stop();
    for (const each of standInKernels()) asked.add(each);
  }
}
