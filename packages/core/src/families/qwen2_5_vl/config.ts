/** `vision_config`: blocks see windows, but for some that see whole frames. */
import { z } from 'zod';

import { UserError } from '../../errors.ts';
import { readCommon, visionFields, type VisionConfig } from '../../model/vision-config.ts';

const count = z.int().positive();

export const visionSchema = z
  .looseObject({
    ...visionFields,
    hidden_size: count.default(3584),
    intermediate_size: count.default(3420),
    out_hidden_size: count.default(3584),
    window_size: count.default(112),
    fullatt_block_indexes: z.array(z.int()).default([7, 15, 23, 31]),
    tokens_per_second: z.number().positive().default(4),
    hidden_act: z.literal('silu').default('silu'),
  })
  .transform((file): VisionConfig => {
    const common = readCommon(file, file.hidden_size);
    const unit = common.patchSize * common.spatialMergeSize;
    if (file.window_size < unit) {
      throw new UserError(`windows of ${file.window_size} pixels hold no merged patch of ${unit} pixels`);
    }
    return {
      ...common,
      intermediateSize: file.intermediate_size,
      isGated: true,
      outHiddenSize: file.out_hidden_size,
      windowSize: file.window_size,
      fullAttentionBlocks: new Set(file.fullatt_block_indexes),
      tokensPerSecond: file.tokens_per_second,
    };
  });
