/** What a plan is about: numbers of parameters and of tokens. */
import type { Config } from '../config/schema.ts';
import type { ModelConfig } from '../model/config.ts';

/** Parameters of a model, by what happens to them. */
export interface Sizes {
  readonly all: number;
  readonly trainable: number;
  /** Those in tensors whose moments are never in 8 bits. */
  readonly small: number;
  /** Parameters in linear layers, whose products take the policy's precision. */
  readonly projections: number;
  /** Trained ones among them. */
  readonly trainedProjections: number;
  readonly vision: number;
  /** Embedding table, and head where it is not tied. */
  readonly tables: number;
  /** Bytes of the checkpoint's files. */
  readonly file: number;
  /** Bytes of the weights in memory. */
  readonly weights: number;
  /** Elements of linear layers whose weights are copied to bfloat16 for products. */
  readonly copied: number;
  /** Elements of those that are in bfloat16 alone, of whose float32 numbers cards or processes have shares. */
  readonly masters: number;
  /** Elements that stay in bfloat16 where the file has them so, products take that, and they are not trained. */
  readonly matrices: number;
  /** Elements of linear layers that four bits may hold, and of the largest of them. */
  readonly packable: number;
  readonly widest: number;
}

/** The longest prompts and answers that a step may meet. */
export interface Workload {
  readonly prompts: number;
  readonly microBatch: number;
  /** L: tokens of a prompt, image tokens included. */
  readonly promptTokens: number;
  /** Patches of the images of a prompt. */
  readonly patches: number;
  /** G; 0 where nothing is sampled. */
  readonly group: number;
  /** Responses per prompt that are trained on: the group, and the label. */
  readonly responses: number;
  /** T: tokens of the longest response of the group. */
  readonly responseTokens: number;
  /** Images of the whole dataset. */
  readonly images: number;
  /** Prompts that an evaluation answers at once, one answer each; 0 where there is none. */
  readonly evaluated: number;
  readonly evaluationTokens: number;
}

export interface Subject {
  readonly model: ModelConfig;
  readonly sizes: Sizes;
  readonly workload: Workload;
  readonly config: Pick<Config, 'precision' | 'stream' | 'device' | 'optimizer' | 'objective' | 'train' | 'rollout'>;
  /** Whether the vision tower stays as it is. */
  readonly frozenVision: boolean;
  /** Cards, or processes, that share moments and gradients; one unless said. */
  readonly shards?: number;
  /** Memory of the card that it runs on, in bytes. */
  readonly card?: number | undefined;
}

/** Tokens of the rows of a micro-batch. */
export function packedTokens({ microBatch, promptTokens, responses, responseTokens }: Workload): number {
  return microBatch * (promptTokens + responses * responseTokens);
}
