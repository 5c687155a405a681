/** A model with the experiment that it is measured by. */
import type { Device } from '@visurf/torch';

import { PolicyThread } from './answers/policy-thread.ts';
import { resolveDevice } from './device.ts';
import type { Precision, Stream } from './model/projection.ts';
import { loadLocalPolicy, locateModel, type ModelSource, type Policy, type PolicyOptions } from './policy.ts';
import { loadModelConfig } from './families/config.ts';
import { PromptEncoder } from './prompt/encoder.ts';
import { promptSettings } from './question/settings.ts';
import { openAnswering, type AnsweredBy } from './servers/open.ts';
import type { ServerSampler } from './servers/sampler.ts';
import { openMeasure, type Measure, type MeasureOptions } from './question/measure.ts';

export interface LoadOptions extends PolicyOptions, ModelSource {
  /** In a thread of its own: the event loop stays free while the model answers (`generate`, `score`, `predict`). */
  readonly worker?: boolean | undefined;
  /** In a thread: answers that are given at once, at most. */
  readonly atOnce?: number | undefined;
  /** In a thread: processor threads that it computes with. */
  readonly threads?: number | undefined;
}

/**
 * A checkpoint in Hugging Face layout, or an adapter in PEFT's together with its base model: a directory, a run, or
 * `owner/name` on the hub, which is downloaded once.
 * @throws UserError when the model cannot be had, or a file or a tensor is missing or does not fit.
 * @example
 * using policy = await loadPolicy('Qwen/Qwen2.5-VL-3B-Instruct', { precision: 'bfloat16', dtype: 'auto' });
 */
export async function loadPolicy(
  model: string,
  options: LoadOptions & { readonly worker: true },
): Promise<PolicyThread>;
export async function loadPolicy(model: string, options?: LoadOptions & { readonly worker?: false }): Promise<Policy>;
export async function loadPolicy(model: string, options: LoadOptions = {}): Promise<Policy | PolicyThread> {
  const device = resolveDevice(options.device ?? 'cpu');
  const { base, adapter } = await locateModel(model, options);
  const { worker, atOnce: most, threads, onProgress: _, onWarning: __, ...rest } = options;
  if (worker) return await PolicyThread.open({ base, options: { ...rest, adapter, device }, most, threads });
  return loadLocalPolicy(base, { ...options, adapter, device });
}

export interface OpenOptions extends ModelSource, MeasureOptions {
  readonly device?: Device | undefined;
  readonly precision?: Precision | undefined;
  readonly stream?: Stream | undefined;
}

/** To be disposed of together with its policy. */
export interface OpenedModel extends Measure {
  readonly policy: Policy;
}

/** Opened to be asked from a thread that is busy with other things, such as serving. */
export interface OpenedThread extends Measure {
  readonly policy: PolicyThread;
}

interface Located extends Measure {
  readonly base: string;
  readonly options: PolicyOptions;
}

async function locate(model: string, options: OpenOptions): Promise<Located> {
  const { precision, stream } = options;
  const device = resolveDevice(options.device ?? 'cpu');
  const { base, adapter } = await locateModel(model, options);
  const measure = await openMeasure([adapter, base], options);
  const { minPixels, maxPixels, maxPromptTokens } = measure.experiment.settings;
  const seen = { minPixels, maxPixels, maxPromptTokens };
  return { ...measure, base, options: { ...seen, adapter, device, precision, stream, dtype: 'auto' } };
}

/**
 * Loads a model to answer questions as it was trained, or as the options say.
 * @param model directory in Hugging Face layout, run, or name on the hub
 * @throws UserError for a model that cannot be had, or settings that cannot be used
 * @example
 * const { policy, experiment } = await openModel('runs/cars');
 */
export async function openModel(model: string, options: OpenOptions = {}): Promise<OpenedModel> {
  const { base, options: seen, ...measure } = await locate(model, options);
  return { ...measure, policy: loadLocalPolicy(base, seen) };
}

/** Opened to be answered by servers. */
export interface OpenedServed extends Measure {
  readonly policy: ServerSampler;
}

/**
 * A model that servers answer with, as it was trained, or as the options say; its weights are not read here. An adapter is
 * given to them, a whole model is what they serve.
 * @throws UserError where the model or a server cannot be had
 */
export async function openServed(
  model: string,
  by: AnsweredBy,
  options: OpenOptions & { readonly signal?: AbortSignal | undefined } = {},
): Promise<OpenedServed> {
  const { base, options: seen, ...measure } = await locate(model, { ...options, device: 'cpu' });
  const { adapter } = seen;
  const encoder = PromptEncoder.load(base, { ...seen, ...promptSettings([adapter, base], seen) });
  const vocabulary = loadModelConfig(base).text.vocabularySize;
  const onWarning = options.onWarning ?? (() => undefined);
  const policy = await openAnswering(by, { encoder, vocabulary, adapter }, { onWarning, signal: options.signal });
  return { ...measure, policy };
}

/** A model that is loaded here, or that servers answer with. */
export const openEither = (
  model: string,
  by: AnsweredBy | undefined,
  options: OpenOptions & { readonly signal?: AbortSignal | undefined },
): Promise<OpenedModel | OpenedServed> => (by ? openServed(model, by, options) : openModel(model, options));

/** `openModel` in a thread of its own. @param atOnce answers that are given at once, at most */
export async function openThread(
  model: string,
  options: OpenOptions & { atOnce?: number } = {},
): Promise<OpenedThread> {
  const { base, options: seen, ...measure } = await locate(model, options);
  const policy = await PolicyThread.open({ base, options: seen, most: options.atOnce, threads: undefined });
  return { ...measure, policy };
}
