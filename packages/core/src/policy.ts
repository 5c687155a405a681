/** A checkpoint ready to answer: weights, tokenizer, chat template, image processing. */
import type { Device } from '@visurf/torch';

import { loadModel } from './model/load.ts';
import type { Precision } from './model/projection.ts';
import type { QwenVL } from './model/qwen.ts';
import { PromptEncoder, type EncoderOptions } from './prompt/encoder.ts';
import { generate, type Generated, type SamplingOptions } from './rollout/generate.ts';
import type { Prompt, Response, Rollout } from './types.ts';

export interface PolicyOptions extends EncoderOptions {
  readonly device?: Device | undefined;
  /** `bfloat16`: products in bfloat16, weights in float32. */
  readonly precision?: Precision | undefined;
}

export class Policy {
  readonly directory: string;
  readonly model: QwenVL;
  readonly encoder: PromptEncoder;

  constructor(directory: string, model: QwenVL, encoder: PromptEncoder) {
    this.directory = directory;
    this.model = model;
    this.encoder = encoder;
  }

  /** Samples `group` responses per prompt, [B][G]. */
  async sample(prompts: readonly Prompt[], options: SamplingOptions): Promise<Rollout[][]> {
    const { tokenizer, forbiddenIds } = this.encoder;
    const groups = await generate(this.model, prompts, { ...options, stopIds: tokenizer.eosIds, forbiddenIds });
    return groups.map((group) => group.map((each) => this.#read(each)));
  }

  /** A text as a response that ends with the stop token: what a label is. */
  write(text: string): Response {
    return { tokens: this.encoder.encodeResponse(text), text, stop: 'eos' };
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

/**
 * Loads a checkpoint in Hugging Face layout.
 * @throws UserError when a file or a tensor is missing or does not fit.
 * @example
 * using policy = loadPolicy('recipes/mini-grounding/base');
 */
export function loadPolicy(directory: string, options: PolicyOptions = {}): Policy {
  const { device = 'cpu', precision = 'float32' } = options;
  const encoder = PromptEncoder.load(directory, options);
  const model = loadModel(directory, { device });
  model.precision = precision;
  return new Policy(directory, model, encoder);
}
