/** The shape of a vision tower, read from `vision_config`; families name their widths differently. */
import { z } from 'zod';

import { UserError } from '../errors.ts';
import { count, layers } from './text-config.ts';

export interface VisionConfig {
  readonly depth: number;
  /** Width of the tower's stream. */
  readonly hiddenSize: number;
  readonly heads: number;
  readonly intermediateSize: number;
  /** Whether the feed-forward layers have a gate: three matrices, not two. */
  readonly isGated: boolean;
  /** Width of the text decoder that the merger feeds. */
  readonly outHiddenSize: number;
  readonly inChannels: number;
  readonly patchSize: number;
  readonly temporalPatchSize: number;
  readonly spatialMergeSize: number;
  /** Pixels; Infinity where every block sees whole frames. */
  readonly windowSize: number;
  readonly fullAttentionBlocks: ReadonlySet<number>;
  /** Undefined where positions are learned alone. */
  readonly ropeTheta: number | undefined;
  /** Positions per second of video; undefined where frames simply count up. */
  readonly tokensPerSecond: number | undefined;
  /** Rows and columns of the table of learned positions; undefined where there is none. */
  readonly positionSide?: number;
  /** Blocks whose output is also merged, and added to the decoder's first layers. */
  readonly deepstack?: readonly number[];
}

/** What files of several families say, by their names and defaults. */
export const visionFields = {
  depth: layers.default(32),
  num_heads: count.default(16),
  in_channels: count.optional(),
  in_chans: count.optional(),
  patch_size: count.default(14),
  temporal_patch_size: count.default(2),
  spatial_merge_size: count.default(2),
  rope_theta: z.number().positive().nullish(),
  rope_parameters: z.looseObject({ rope_theta: z.number().positive().nullish() }).nullish(),
};

type Fields = z.output<z.ZodObject<typeof visionFields>>;

export function readCommon(file: Fields, width: number) {
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
