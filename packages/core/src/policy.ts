/** A checkpoint ready to answer: weights, tokenizer, chat template, image processing. */
import { info, type Device } from '@visurf/torch';

import { isHubId } from './hub/id.ts';
import { localModel, type HubOptions } from './hub/model.ts';
import { UserError } from './errors.ts';
import { loadModel } from './model/load.ts';
import { addAdapters, mergeAdapters, type LoraSettings } from './model/lora.ts';
import {
  baseDirectory,
  isAdapterDirectory,
  loadAdapter,
  makePeftConfig,
  readPeftConfig,
  type PeftConfig,
} from './model/peft.ts';
import type { Precision } from './model/projection.ts';
import type { QwenVL } from './model/qwen.ts';
import { PromptEncoder, type EncoderOptions } from './prompt/encoder.ts';
import { generate, type Generated, type SamplingOptions } from './rollout/generate.ts';
import type { Prompt, Response, Rollout } from './types.ts';
import { responseLogProbs } from './update/update.ts';

export interface PolicyOptions extends EncoderOptions {
  readonly device?: Device | undefined;
  /** `bfloat16`: products in bfloat16, weights in float32. */
  readonly precision?: Precision | undefined;
  /**
   * Of the weights: `auto` leaves matrices of a bfloat16 checkpoint as they are where products are in bfloat16, which
   * takes half the memory and gives the same numbers; not for training. Unset: float32.
   */
  readonly dtype?: 'float32' | 'auto' | undefined;
  /** Directory of a LoRA adapter, as PEFT writes it, to put on the model. */
  readonly adapter?: string | undefined;
}

export class Policy {
  /** Of the whole model; with an adapter, that of its base. */
  readonly directory: string;
  readonly model: QwenVL;
  readonly encoder: PromptEncoder;
  /** Description of the model's adapter, where it has one. */
  peft: PeftConfig | undefined;

  constructor(directory: string, model: QwenVL, encoder: PromptEncoder) {
    this.directory = directory;
    this.model = model;
    this.encoder = encoder;
    this.peft = undefined;
  }

  /** Puts a new LoRA adapter on the model, which changes nothing yet, and freezes all other weights. */
  addAdapter(settings: LoraSettings, seed: number): void {
    if (this.peft) throw new Error('the policy has an adapter already');
    addAdapters(this.model, settings, seed);
    this.peft = makePeftConfig(this.model, settings, this.directory);
  }

  /** Adds the adapter to the weights: what is left is a whole model that computes the same. */
  mergeAdapter(): void {
    mergeAdapters(this.model);
    this.peft = undefined;
  }

  /**
   * Samples `group` responses per prompt, [B][G]. Sampling never draws vision or padding tokens; greedy decoding says what
   * the model finds most likely, whatever it is.
   */
  async sample(prompts: readonly Prompt[], options: SamplingOptions): Promise<Rollout[][]> {
    const { tokenizer } = this.encoder;
    const forbiddenIds = options.temperature === 0 ? [] : this.encoder.forbiddenIds;
    const groups = await generate(this.model, prompts, { ...options, stopIds: tokenizer.eosIds, forbiddenIds });
    return groups.map((group) => group.map((each) => this.#read(each)));
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
    this.model.weightsChanged();
    this.model.dispose();
  }

  #read({ tokens, logProbs, stop }: Generated): Rollout {
    const said = stop === 'eos' ? tokens.slice(0, -1) : tokens;
    return { tokens, logProbs, stop, text: this.encoder.decode(said) };
  }
}

/** The directory of a whole model, and of the adapter to put on it: an adapter's own directory names its base. */
export function resolveModel(directory: string, adapter?: string): { base: string; adapter: string | undefined } {
  if (adapter !== undefined) return { base: directory, adapter };
  if (!isAdapterDirectory(directory)) return { base: directory, adapter: undefined };
  return { base: baseDirectory(directory), adapter: directory };
}

/**
 * A checkpoint in Hugging Face layout, or an adapter in PEFT's together with its base model: a directory, or `owner/name`
 * on the hub, which is downloaded once.
 * @throws UserError when the model cannot be had, or a file or a tensor is missing or does not fit.
 * @example
 * using policy = await loadPolicy('Qwen/Qwen2.5-VL-3B-Instruct', { precision: 'bfloat16', dtype: 'auto' });
 */
export async function loadPolicy(model: string, options: PolicyOptions & HubOptions = {}): Promise<Policy> {
  const directory = await localModel(model, options);
  if (options.adapter === undefined && isAdapterDirectory(directory)) {
    const { base_model_name_or_path: base } = readPeftConfig(directory);
    if (base && isHubId(base)) {
      const whole = await localModel(base, { ...options, revision: undefined });
      return loadLocalPolicy(whole, { ...options, adapter: directory });
    }
  }
  return loadLocalPolicy(directory, options);
}

/**
 * `loadPolicy` for a directory whose base model, where it is an adapter, is a directory, too.
 * @throws UserError when a file or a tensor is missing or does not fit.
 */
export function loadLocalPolicy(directory: string, options: PolicyOptions = {}): Policy {
  const { device = 'cpu', precision = 'float32' } = options;
  if (device === 'cuda' && !info().cuda) {
    throw new UserError('libtorch finds no CUDA GPU here', {
      where: 'device cuda',
      remedy: 'Use device cpu, or see what was found with: visurf doctor',
    });
  }
  const { base, adapter } = resolveModel(directory, options.adapter);
  const encoder = PromptEncoder.load(base, options);
  const model = loadModel(base, { device, dtype: precision === 'bfloat16' ? options.dtype : 'float32' });
  model.precision = precision;
  const policy = new Policy(base, model, encoder);
  if (adapter !== undefined) policy.peft = loadAdapter(model, adapter);
  return policy;
}
