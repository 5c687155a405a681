/** `visurf eval`: a checkpoint's greedy answers to a dataset, scored by its task. */
import { closeSync, openSync } from 'node:fs';
import path from 'node:path';

import type { Device } from '@visurf/torch';

import type { Config } from './config/schema.ts';
import { loadDataset } from './data/dataset.ts';
import { fileError } from './errors.ts';
import { evaluatePolicy, writePerSample, type EvaluatedSample } from './eval/evaluate.ts';
import { isHubId } from './hub/id.ts';
import type { HubOptions } from './hub/model.ts';
import type { Precision } from './model/projection.ts';
import { loadPolicy, type ModelSource } from './policy.ts';
import { makeScorers } from './reward/reward.ts';
import { makeDirectory } from './run/durable.ts';
import { ask } from './step.ts';
import { makeTasks, truthReader, type TaskMix } from './tasks/mix.ts';
import { taskDefinition } from './tasks/registry.ts';
import type { Sample } from './types.ts';

type Asking = Partial<Pick<Config['data'], 'system' | 'maxPromptTokens' | 'maxPixels' | 'minPixels'>>;

/** System turn and sizes of images as in training; unset: the model's own. */
export interface EvaluateOptions extends Pick<ModelSource, 'revision' | 'adapter' | 'base'>, Asking {
  /** Checkpoint in Hugging Face layout, or its name on the hub. */
  readonly model: string;
  /** JSONL file. */
  readonly data: string;
  /** Task of samples that name none. */
  readonly task?: string | undefined;
  /** Prompt template in place of the samples' and the task's own. */
  readonly prompt?: string | undefined;
  readonly device?: Device | undefined;
  readonly precision?: Precision | undefined;
  readonly maxNewTokens?: number | undefined;
  /** Only so many samples, from the start of the file. */
  readonly limit?: number | undefined;
  /** JSONL file for the answer to every sample; unset: `eval/<name of the data>.jsonl` in the model directory, or here. */
  readonly output?: string | undefined;
  readonly onProgress?: ((done: number, total: number) => void) | undefined;
  readonly onDownload?: HubOptions['onProgress'];
  readonly signal?: AbortSignal | undefined;
}

export interface Evaluated {
  /** In percent, by the task; and the mean reward. */
  readonly metrics: Readonly<Record<string, number>>;
  readonly n: number;
  /** The file of answers. */
  readonly perSample: string;
  readonly samples: readonly EvaluatedSample[];
}

/** The samples of a file, and their tasks with their default parameters. */
export async function loadTaskData(
  file: string,
  name = 'grounding',
  limit?: number,
): Promise<{ samples: Sample[]; tasks: TaskMix }> {
  const { name: task } = taskDefinition(name);
  const samples = await loadDataset(file, { task, limit, truths: (all) => truthReader(makeTasks(all)) });
  return { samples, tasks: makeTasks(samples) };
}

/** Before the work, not after it. @throws UserError */
function assertWritable(file: string): void {
  try {
    makeDirectory(path.dirname(file));
    closeSync(openSync(file, 'a'));
  } catch (error) {
    throw fileError(error, { where: file, remedy: 'Choose another output.' });
  }
}

/** @throws UserError for a bad checkpoint or bad data. */
export async function evaluate(options: EvaluateOptions): Promise<Evaluated> {
  const { model, data, maxNewTokens = 512, onProgress, signal } = options;
  using policy = await loadPolicy(model, { ...options, dtype: 'auto', onProgress: options.onDownload });
  const { samples, tasks } = await loadTaskData(data, options.task, options.limit);
  const perSample = path.resolve(options.output ?? path.join(isHubId(model) ? '' : model, 'eval', path.basename(data)));
  assertWritable(perSample);
  const scorer = makeScorers(tasks);
  const asking = { policy, scorer, prompt: options.prompt, system: options.system };
  const settings = { maxNewTokens, onProgress, signal };
  const result = await evaluatePolicy(policy, scorer, samples, (sample) => ask(asking, sample), settings);
  await writePerSample(perSample, result.samples);
  return { ...result, n: samples.length, perSample };
}
