/**
 * Useful floating-point operations and bytes, counted from the shape of a model: what any program must do that computes
 * each thing once. A multiplication and an addition are two operations. Not counted: norms, activations, softmax,
 * rotation, the optimiser, and whatever is computed twice.
 *
 * Legend: B prompts of L tokens, K responses of T tokens each. The last token of a response is predicted, never read.
 */
import type { ModelConfig } from '../packages/core/src/model/config.ts';
import { planWindows } from '../packages/core/src/model/windows.ts';
import type { Grid } from '../packages/core/src/types.ts';

export interface Work {
  readonly prompts: number;
  readonly promptTokens: number;
  /** Patches of the image of each prompt. */
  readonly grid: Grid;
  readonly responses: number;
  readonly responseTokens: number;
}

/** Weights of the products of a token on its way through the decoder's layers. */
export function decoderWeights({ text }: ModelConfig): number {
  const { layers, hiddenSize, heads, keyValueHeads, headSize, intermediateSize } = text;
  const attention = 2 * hiddenSize * headSize * (heads + keyValueHeads);
  return layers * (attention + 3 * hiddenSize * intermediateSize);
}

const headWeights = ({ text }: ModelConfig): number => text.vocabularySize * text.hiddenSize;

/** Scores and weighted sums of that many pairs of a query and a visible key, in all layers. */
const decoderAttention = ({ text }: ModelConfig, pairs: number): number =>
  4 * text.layers * text.heads * text.headSize * pairs;

/** Pairs of the queries of a response's read tokens; each sees the prompt, what came before, and itself. */
const ownPairs = ({ promptTokens, responseTokens }: Work): number =>
  (responseTokens - 1) * promptTokens + ((responseTokens - 1) * responseTokens) / 2;

const causalPairs = (length: number): number => (length * (length + 1)) / 2;

/** Forward operations of the vision tower on one image. */
export function visionOperations(config: ModelConfig, grid: Grid): number {
  const { vision } = config;
  const { isGated, depth, hiddenSize, intermediateSize, outHiddenSize, spatialMergeSize } = vision;
  const patches = grid[0] * grid[1] * grid[2];
  const matrices = isGated ? 3 : 2;
  const block = 4 * hiddenSize ** 2 + matrices * hiddenSize * intermediateSize;
  const pixels = vision.inChannels * vision.temporalPatchSize * vision.patchSize ** 2;
  const unit = spatialMergeSize ** 2;
  const merger = (unit * hiddenSize) ** 2 + unit * hiddenSize * outHiddenSize;
  const { windows, frames } = planWindows([grid], vision);
  const squares = (lengths: readonly number[]): number => lengths.reduce((sum, length) => sum + length ** 2, 0);
  const full = vision.windowSize === Infinity ? depth : vision.fullAttentionBlocks.size;
  const pairs = full * squares(frames) + (depth - full) * squares(windows);
  return 2 * patches * (depth * block + pixels * hiddenSize) + (2 * patches * merger) / unit + 4 * hiddenSize * pairs;
}

/** Forward operations of scoring prompts with their responses: each image and each prompt once. */
export function forwardOperations(config: ModelConfig, work: Work): number {
  const { prompts, promptTokens, grid, responses, responseTokens } = work;
  const tokens = promptTokens + responses * (responseTokens - 1);
  const pairs = causalPairs(promptTokens) + responses * ownPairs(work);
  const head = responses * responseTokens * headWeights(config);
  const text = 2 * tokens * decoderWeights(config) + decoderAttention(config, pairs) + 2 * head;
  return prompts * (visionOperations(config, grid) + text);
}

/** Forward and backward: a product's backward is two products. */
export const updateOperations = (config: ModelConfig, work: Work): number => 3 * forwardOperations(config, work);

/** Operations of one step of decoding: one token of every response, in the middle of the responses. */
export function decodeOperations(
  config: ModelConfig,
  { prompts, promptTokens, responses, responseTokens }: Work,
): number {
  const rows = prompts * responses;
  const keys = promptTokens + responseTokens / 2;
  return rows * (2 * (decoderWeights(config) + headWeights(config)) + decoderAttention(config, keys));
}

/**
 * Bytes that one step of decoding reads: all weights once, keys and values (float32) of each prompt once and of each
 * response in the middle of its growth.
 * @param item bytes of a weight
 */
export function decodeBytes(config: ModelConfig, work: Work, item: number): number {
  const { prompts, promptTokens, responses, responseTokens } = work;
  const { layers, keyValueHeads, headSize } = config.text;
  const cached = prompts * (promptTokens + (responses * responseTokens) / 2);
  return item * (decoderWeights(config) + headWeights(config)) + 4 * 2 * layers * keyValueHeads * headSize * cached;
}
