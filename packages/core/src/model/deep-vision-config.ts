/** The shape of a `DeepVisionTower`, read from `vision_config`. */
import { z } from 'zod';

import { UserError } from '../errors.ts';
import { count, layers } from './text-config.ts';
import { readCommon, visionFields, type VisionConfig } from './vision-config.ts';

/** By their names and defaults in the reference. */
export const deepVisionFields = {
  ...visionFields,
  depth: layers.default(27),
  patch_size: count.default(16),
  hidden_size: count.default(1152),
  intermediate_size: count.default(4304),
  out_hidden_size: count.default(3584),
  num_position_embeddings: count.default(2304),
  hidden_act: z.literal('gelu_pytorch_tanh').default('gelu_pytorch_tanh'),
};
type Fields = z.output<z.ZodObject<typeof deepVisionFields>>;

/** @param deepstack blocks whose output is merged for the decoder's first layers; as in the reference some may not be there */
export function readDeepVision(file: Fields, deepstack: readonly number[]): VisionConfig {
  const side = Math.floor(Math.sqrt(file.num_position_embeddings));
  if (side * side !== file.num_position_embeddings) {
    throw new UserError(`num_position_embeddings is ${file.num_position_embeddings}: no square table`);
  }
  if (new Set(deepstack).size < deepstack.length || deepstack.some((block) => block < 0)) {
    throw new UserError(`deepstack_visual_indexes [${deepstack.join(', ')}] are not numbers of blocks, each once`);
  }
  return {
    ...readCommon(file, file.hidden_size),
    intermediateSize: file.intermediate_size,
    isGated: false,
    outHiddenSize: file.out_hidden_size,
    windowSize: Infinity,
    fullAttentionBlocks: new Set(),
    tokensPerSecond: undefined,
    positionSide: side,
    deepstack,
  };
}
