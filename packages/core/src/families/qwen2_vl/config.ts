/** `vision_config`: every block sees whole frames; `hidden_size` is the width of the decoder. */
import { z } from 'zod';

import { readCommon, visionFields, type VisionConfig } from '../../model/vision-config.ts';

const count = z.int().positive();

export const visionSchema = z
  .looseObject({
    ...visionFields,
    embed_dim: count.default(1280),
    hidden_size: count.default(3584),
    mlp_ratio: z.number().positive().default(4),
    hidden_act: z.literal('quick_gelu').default('quick_gelu'),
  })
  .transform((file): VisionConfig => ({
    ...readCommon(file, file.embed_dim),
    intermediateSize: Math.floor(file.embed_dim * file.mlp_ratio),
    isGated: false,
    outHiddenSize: file.hidden_size,
    windowSize: Infinity,
    fullAttentionBlocks: new Set(),
    tokensPerSecond: undefined,
  }));
