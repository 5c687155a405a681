/** `visurf eval`: a checkpoint's greedy answers to a dataset, asked and scored as it was trained. */
import path from 'node:path';

import type { DatasetOptions } from './data/dataset.ts';
import { fileError } from './errors.ts';
import { evaluatePolicy, writePerSample, type EvaluatedSample } from './eval/evaluate.ts';
import { openEither, type OpenOptions } from './opened.ts';
import type { AnsweredBy } from './servers/open.ts';
import { assertWritable } from './disk/durable.ts';

export interface EvaluateOptions extends Omit<OpenOptions, 'onProgress'> {
  /** Servers that answer in place of a model that is loaded here. */
  readonly by?: AnsweredBy | undefined;
  /** Checkpoint in Hugging Face layout, a run, or a name on the hub. */
  readonly model: string;
  /** JSONL file. */
  readonly data: string;
  /** Only so many samples, from the start of the file. */
  readonly limit?: number | undefined;
  /** Images may lie outside of the folder of the data. */
  readonly allowOutside?: boolean | undefined;
  /** JSONL file for the answer to every sample; unset: `eval/MODEL/DATA.jsonl` here. */
  readonly output?: string | undefined;
  readonly onProgress?: ((done: number, total: number) => void) | undefined;
  readonly onDownload?: OpenOptions['onProgress'];
  /** Hears where settings were taken from, before the model answers. */
  readonly onOrigins?: ((lines: readonly string[]) => void) | undefined;
  /** Called as the data is read. */
  readonly onRead?: DatasetOptions['onProgress'];
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

/** Does what needs a file to be writable. @throws UserError */
function written<T>(file: string, write: () => T): T {
  try {
    return write();
  } catch (error) {
    throw fileError(error, { where: file, remedy: 'Choose another output.' });
  }
}

/** A name for the answers of a model: the end of its path. */
const nameOf = (model: string): string => path.resolve(model).split(path.sep).filter(Boolean).slice(-2).join('-');

/** @throws UserError for a bad checkpoint or bad data. */
export async function evaluate(options: EvaluateOptions): Promise<Evaluated> {
  const { model, data, limit, onProgress, onDownload, signal } = options;
  const {
    policy: loaded,
    experiment: opened,
    origins,
  } = await openEither(model, options.by, { ...options, onProgress: onDownload });
  await using policy = loaded;
  options.onOrigins?.(origins);
  const { samples, experiment } = await opened.load(data, {
    limit,
    allowOutside: options.allowOutside ?? options.config?.data.allowOutside,
    isHeld: true,
    signal,
    onProgress: options.onRead,
    onDownload,
  });
  const perSample = path.resolve(options.output ?? path.join('eval', nameOf(model), path.basename(data)));
  written(perSample, () => assertWritable(perSample));
  const { maxNewTokens } = experiment.settings;
  const result = await evaluatePolicy(policy, experiment, samples, { maxNewTokens, onProgress, signal });
  written(perSample, () => writePerSample(perSample, result.samples));
  return { ...result, n: samples.length, perSample };
}
