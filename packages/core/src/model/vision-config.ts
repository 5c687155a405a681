/** The shape of a vision tower, read from `vision_config`. The two families name their widths differently. */
import { z } from 'zod';

import { UserError } from '../errors.ts';

/** Which blocks a vision tower is made of. */
export type VisionFamily = 'qwen2_vl' | 'qwen2_5_vl';

export interface VisionConfig {
  readonly family: VisionFamily;
  readonly depth: number;
  /** Width of the tower's stream. */
  readonly hiddenSize: number;
  readonly heads: number;
  readonly intermediateSize: number;
  /** Width of the text decoder that the merger feeds. */
  readonly outHiddenSize: number;
  readonly inChannels: number;
  readonly patchSize: number;
  readonly temporalPatchSize: number;
  readonly spatialMergeSize: number;
  /** Pixels; Infinity where every block sees whole frames. */
  readonly windowSize: number;
  readonly fullAttentionBlocks: ReadonlySet<number>;
  readonly ropeTheta: number;
  /** Positions per second of video; undefined where frames simply count up. */
  readonly tokensPerSecond: number | undefined;
}

const count = z.int().positive();

/** What both families have, by the names and defaults of the files. */
const common = {
  depth: count.default(32),
  num_heads: count.default(16),
  in_channels: count.optional(),
  in_chans: count.optional(),
  patch_size: count.default(14),
  temporal_patch_size: count.default(2),
  spatial_merge_size: count.default(2),
  rope_theta: z.number().positive().nullish(),
  rope_parameters: z.looseObject({ rope_theta: z.number().positive().nullish() }).nullish(),
};

type Common = z.output<z.ZodObject<typeof common>>;

function readCommon(file: Common, width: number) {
  if (width % (4 * file.num_heads) !== 0) {
    throw new UserError(`${file.num_heads} heads of the vision tower do not fit a width of ${width}`);
  }
  return {
    depth: file.depth,
    hiddenSize: width,
    heads: file.num_heads,
    inChannels: file.in_channels ?? file.in_chans ?? 3,
    patchSize: file.patch_size,
    temporalPatchSize: file.temporal_patch_size,
    spatialMergeSize: file.spatial_merge_size,
    ropeTheta: file.rope_parameters?.rope_theta ?? file.rope_theta ?? 10_000,
  };
}

/** Every block sees whole frames; `hidden_size` is the width of the decoder. */
const qwen2 = z
  .looseObject({
    ...common,
    embed_dim: count.default(1280),
    hidden_size: count.default(3584),
    mlp_ratio: z.number().positive().default(4),
    hidden_act: z.literal('quick_gelu').default('quick_gelu'),
  })
  .transform((file): VisionConfig => ({
    ...readCommon(file, file.embed_dim),
    family: 'qwen2_vl',
    intermediateSize: Math.floor(file.embed_dim * file.mlp_ratio),
    outHiddenSize: file.hidden_size,
    windowSize: Infinity,
    fullAttentionBlocks: new Set(),
    tokensPerSecond: undefined,
  }));

const qwen25 = z
  .looseObject({
    ...common,
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
      family: 'qwen2_5_vl',
      intermediateSize: file.intermediate_size,
      outHiddenSize: file.out_hidden_size,
      windowSize: file.window_size,
      fullAttentionBlocks: new Set(file.fullatt_block_indexes),
      tokensPerSecond: file.tokens_per_second,
    };
  });

export const visionSchemas = { qwen2_vl: qwen2, qwen2_5_vl: qwen25 } satisfies Record<VisionFamily, unknown>;
