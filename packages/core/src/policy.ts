/** A checkpoint ready to answer: weights, tokenizer, chat template, image processing. */
import { realpathSync } from 'node:fs';
import { resolve } from 'node:path';

import type { Device } from '@visurf/torch';

import { hubName, isHubId } from './hub/id.ts';
import { localModel, type LocalModelOptions } from './hub/model.ts';
import type { HubOptions } from './hub/repository.ts';
import { resolveDevice } from './device.ts';
import { UserError } from './errors.ts';
import { loadModel } from './families/load.ts';
import { adaptersOf, addAdapters, mergeAdapters, type LoraSettings } from './model/lora.ts';
import {
  baseDirectory,
  isAdapterDirectory,
  loadAdapter,
  makePeftConfig,
  missingBase,
  readPeftConfig,
  type PeftConfig,
} from './model/peft.ts';
import type { Precision, Stream } from './model/projection.ts';
import type { VisionLanguageModel } from './model/vlm.ts';
import { PromptEncoder, type EncoderOptions } from './prompt/encoder.ts';
import { carriedSettings, promptSettings, type Settings } from './question/settings.ts';
import { respond, type SamplingOptions } from './rollout/respond.ts';
import { fetchModel } from './mirror/copies.ts';
import { checkpointOf } from './run/best.ts';
import { requireWholeWeights } from './run/checkpoint.ts';
import { isStored } from './store/address.ts';
import type { Prompt, Response, Rollout } from './types.ts';
import { responseLogProbs } from './update/log-probs.ts';

export interface PolicyOptions extends EncoderOptions {
  readonly device?: Device | undefined;
  /** `bfloat16`: products in bfloat16, weights in float32; `float64`: everything in float64. */
  readonly precision?: Precision | undefined;
  /** What layers hand to each other, where products are in bfloat16: `float32` unless said. */
  readonly stream?: Stream | undefined;
  /**
   * Of the weights: `auto` leaves matrices of a bfloat16 checkpoint as they are where products are in bfloat16, which
   * takes half the memory and gives the same numbers; not for training. Unset: float32.
   */
  readonly dtype?: 'float32' | 'auto' | undefined;
  /** Linear layers of the decoder in four bits (NF4): for adapters that are trained on such a base. */
  readonly quantize?: 'nf4' | undefined;
  /** Directory of a LoRA adapter, as PEFT writes it, to put on the model. */
  readonly adapter?: string | undefined;
}

export class Policy {
  /** Directory of the whole model; with an adapter, that of its base. */
  readonly directory: string;
  readonly model: VisionLanguageModel;
  readonly encoder: PromptEncoder;
  /** Description of the model's adapter, where it has one. */
  peft: PeftConfig | undefined;
  /** What it was trained by, where it carries that. */
  settings: Settings | undefined;
  readonly #missingIds: readonly number[];

  constructor(directory: string, model: VisionLanguageModel, encoder: PromptEncoder) {
    this.directory = directory;
    this.model = model;
    this.encoder = encoder;
    const { text, imageTokenId, videoTokenId } = model.config;
    const rows = text.vocabularySize;
    const placeholders = Object.entries({ image_token_id: imageTokenId, video_token_id: videoTokenId });
    for (const [content, id] of [
      [encoder.tokenizer.largest.content, encoder.tokenizer.largest.id],
      ...placeholders,
    ] as const) {
      if (id === undefined || id < rows) continue;
      throw new UserError(`${content} has the id ${id}, the embedding of the model has ${rows} rows`, {
        where: directory,
        remedy: 'tokenizer.json, config.json and the weights must come from the same checkpoint',
      });
    }
    this.#missingIds = encoder.tokenizer.missingIds(rows);
    this.peft = undefined;
    this.settings = undefined;
  }

  /** Puts a new LoRA adapter on the model, which changes nothing yet, and freezes all other weights. */
  addAdapter(settings: LoraSettings, seed: number): void {
    if (this.peft) throw new Error('the policy has an adapter already');
    addAdapters(this.model, settings, seed);
    this.peft = { ...makePeftConfig(this.model, settings, this.directory), ...nameOf(this.directory) };
  }

  /** Adds the adapter to the weights: what is left is a whole model that computes the same. */
  mergeAdapter(): void {
    mergeAdapters(this.model);
    this.peft = undefined;
  }

  /**
   * Samples `group` responses per prompt, [B][G]. Sampling never draws vision or padding tokens, nor ids without a token;
   * greedy decoding says what the model finds most likely, whatever it is.
   */
  async sample(prompts: readonly Prompt[], options: SamplingOptions): Promise<Rollout[][]> {
    const { tokenizer } = this.encoder;
    const forbiddenIds =
      options.temperature === 0 && !options.turns ? [] : [...this.#missingIds, ...this.encoder.forbiddenIds];
    const groups = await respond(this.model, prompts, { ...options, stopIds: tokenizer.eosIds, forbiddenIds });
    return groups.map((group) => group.map((each) => this.encoder.rollout(each)));
  }

  /** A text as a response that ends with the stop token: what a label is. */
  write(text: string): Response {
    return { tokens: this.encoder.encodeResponse(text), text, stop: 'eos' };
  }

  /** log pi of each response to the prompt. */
  logProbs(prompt: Prompt, responses: readonly Response[]): number[] {
    return responseLogProbs(this.model, prompt, responses);
  }

  [Symbol.dispose](): void {
    for (const adapter of adaptersOf(this.model).values()) adapter.forgetStart();
    this.model.weightsChanged();
    this.model.dispose();
  }
}

/** Where a model is to be had: a directory, a run, or the hub; and the parts of one that is an adapter. */
export interface ModelSource extends HubOptions {
  /** Directory of a LoRA adapter, as PEFT writes it, or its name on the hub, to put on the model. */
  readonly adapter?: string | undefined;
  /** The base of a model that is an adapter, where it is not where the adapter's file says. */
  readonly base?: string | undefined;
}

/** Directories of a whole model, and of the adapter to put on it. */
export interface LocatedModel {
  readonly base: string;
  readonly adapter: string | undefined;
}

/**
 * The directories that a model's name means: `model` is a directory, a run (its best checkpoint), a run in an object store or
 * `owner/name` on the hub, whole or an adapter, which names its base.
 * @throws UserError where one of them cannot be had
 */
export async function locateModel(model: string, options: ModelSource & LocalModelOptions = {}): Promise<LocatedModel> {
  const { adapter, base, ...hub } = options;
  const find = async (name: string, revision?: string): Promise<string> => {
    const found = isStored(name)
      ? await fetchModel(name)
      : await localModel(checkpointOf(name) ?? name, { ...hub, revision });
    if (options.weights !== false) await requireWholeWeights(found);
    return found;
  };
  const directory = await find(model, options.revision);
  if (!isAdapterDirectory(directory)) {
    if (base !== undefined) {
      throw new UserError('is a whole model, which has no base', { where: model, remedy: 'Leave the base out.' });
    }
    return { base: directory, adapter: adapter === undefined ? undefined : await find(adapter) };
  }
  if (adapter !== undefined) {
    throw new UserError('is an adapter itself', {
      where: model,
      remedy: 'With an adapter, name the model that it belongs to; two adapters cannot be put on one model.',
    });
  }
  if (base !== undefined) return { base: await find(base), adapter: directory };
  const beside = baseDirectory(directory);
  if (beside !== undefined) return { base: beside, adapter: directory };
  const { base_model_name_or_path: named = null, revision } = readPeftConfig(directory);
  // Other programs may have left a path into a cache of downloads, which names the model as well.
  const remote =
    named && (hubName(named) ?? (isHubId(named) ? { id: named, revision: revision ?? undefined } : undefined));
  if (!remote) throw missingBase(directory);
  return { base: await find(remote.id, remote.revision), adapter: directory };
}

/**
 * A checkpoint in a directory; where it is an adapter, its base model is a directory, too.
 * @throws UserError when a file or a tensor is missing or does not fit.
 */
export function loadLocalPolicy(directory: string, options: PolicyOptions = {}): Policy {
  const { precision = 'float32', stream = 'float32', quantize } = options;
  if (quantize && precision === 'float64')
    throw new UserError('weights in four bits are multiplied in float32 or bfloat16', { where: 'quantize' });
  if (stream === 'bfloat16' && precision !== stream)
    throw new UserError(`a stream in bfloat16 goes with products in bfloat16, and precision is ${precision}`, {
      where: 'stream',
    });
  const device = resolveDevice(options.device ?? 'cpu');
  const isAdapter = options.adapter === undefined && isAdapterDirectory(directory);
  const adapter = isAdapter ? directory : options.adapter;
  const base = isAdapter ? baseDirectory(directory) : directory;
  if (base === undefined) throw missingBase(directory);
  const encoder = PromptEncoder.load(base, { ...options, ...promptSettings([adapter, base], options) });
  const dtype = precision === 'bfloat16' ? options.dtype : precision;
  const model = loadModel(base, { device, dtype, quantize });
  model.precision = precision;
  model._stream = stream;
  const policy = new Policy(base, model, encoder);
  policy.settings = carriedSettings([adapter, base])?.settings;
  if (adapter !== undefined) policy.peft = { ...loadAdapter(model, adapter), ...nameOf(base) };
  return policy;
}

/** How an adapter's file names a base: as on the hub where it came from there. */
function nameOf(directory: string): Pick<PeftConfig, 'base_model_name_or_path' | 'revision'> {
  const { id, revision } = hubName(realpathSync(directory)) ?? {};
  return { base_model_name_or_path: id ?? resolve(directory), revision: revision ?? null };
}
