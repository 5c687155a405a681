/** `config.json`: an InternViT, a pixel shuffle, a Qwen2 or Qwen3; what a file leaves out has the classes' defaults. */
import { z } from 'zod';

import { UserError } from '../../errors.ts';
import type { ModelShape } from '../../model/config.ts';
import { count, layers, readText, type TextRules } from '../../model/text-config.ts';
import type { VisionConfig } from '../../model/vision-config.ts';
import { side, square } from '../../model/tiles/config.ts';

/** What is known of the tower beside what all towers have. */
export interface InternVision extends VisionConfig {
  /** Rows and columns of patches of a tile, each with a position of its own. */
  readonly positionSide: number;
  /** Pixels along a side of a tile. */
  readonly tile: number;
  readonly norm: 'layer_norm' | 'rms_norm';
  readonly normEps: number;
  /** Of queries, keys and values. */
  readonly attentionBias: boolean;
  /** Whether all heads of queries and keys are normed together. */
  readonly queryKeyNorm: boolean;
}

const qwen: TextRules = {
  ...{ hiddenSize: 4096, layers: 32, heads: 32, keyValueHeads: 32, intermediateSize: 22016, vocabularySize: 151936 },
  ...{ rmsNormEps: 1e-6, length: 32768, ropeTheta: undefined, mropeSection: undefined, mropeInterleaved: false },
  ...{ attentionBias: 'always', queryKeyNorm: false },
};
const decoders: Readonly<Record<'qwen2' | 'qwen3', TextRules>> = {
  qwen2: qwen,
  qwen3: { ...qwen, headSize: 128, attentionBias: 'stated', queryKeyNorm: true },
};

const visionSchema = z.looseObject({
  hidden_size: count.default(1024),
  intermediate_size: count.default(4096),
  num_hidden_layers: layers.default(24),
  num_attention_heads: count.default(16),
  num_channels: z.literal(3).default(3),
  image_size: side.default(448),
  patch_size: side.default(14),
  hidden_act: z.literal('gelu').default('gelu'),
  norm_type: z.enum(['layer_norm', 'rms_norm']).default('layer_norm'),
  layer_norm_eps: z.number().positive().default(1e-6),
  attention_bias: z.boolean().default(false),
  use_qk_norm: z.boolean().default(false),
  use_mask_token: z.literal(false).default(false),
  use_absolute_position_embeddings: z.literal(true).default(true),
  // A norm behind the tower is where features are not pooled.
  use_mean_pooling: z.literal(true).default(true),
});

const rootSchema = z.looseObject({
  image_token_id: z.int().nonnegative().default(151667),
  downsample_ratio: z.number().positive().max(1).default(0.5),
  projector_hidden_act: z.literal('gelu').default('gelu'),
  vision_feature_layer: z.literal(-1).default(-1),
  vision_feature_select_strategy: z.literal('default').default('default'),
  tie_word_embeddings: z.boolean().default(true),
  text_config: z.looseObject({ model_type: z.enum(['qwen2', 'qwen3']).default('qwen2') }).prefault({}),
  vision_config: visionSchema.prefault({}),
});

/** @throws UserError or ZodError where the file describes no model of this build */
export function readConfig(file: unknown): ModelShape {
  const root = rootSchema.parse(file);
  const { vision_config: tower, downsample_ratio: ratio } = root;
  const text = readText(root, decoders[root.text_config.model_type]);
  const { num_attention_heads: heads, hidden_size: hiddenSize } = tower;
  if (hiddenSize % heads !== 0) {
    throw new UserError(`${heads} heads of the vision tower do not fit a width of ${hiddenSize}`);
  }
  const [tile, patchSize] = [square(tower.image_size, 'image_size'), square(tower.patch_size, 'patch_size')];
  const [positionSide, spatialMergeSize] = [Math.floor(tile / patchSize), Math.floor(1 / ratio)];
  if (positionSide === 0 || positionSide % spatialMergeSize !== 0) {
    throw new UserError(
      `tiles of ${tile} pixels hold ${positionSide} patches of ${patchSize} along a side, ` +
        `which do not join by ${spatialMergeSize}`,
    );
  }
  const vision: InternVision = {
    depth: tower.num_hidden_layers,
    hiddenSize,
    heads,
    intermediateSize: tower.intermediate_size,
    isGated: false,
    outHiddenSize: text.hiddenSize,
    inChannels: tower.num_channels,
    patchSize,
    temporalPatchSize: 1,
    spatialMergeSize,
    windowSize: Infinity,
    fullAttentionBlocks: new Set(),
    ropeTheta: undefined,
    tokensPerSecond: undefined,
    ...{ positionSide, tile, norm: tower.norm_type, normEps: tower.layer_norm_eps },
    ...{ attentionBias: tower.attention_bias, queryKeyNorm: tower.use_qk_norm },
  };
  return { vision, text, imageTokenId: root.image_token_id, videoTokenId: undefined };
}

export const isInternVision = (config: VisionConfig): config is InternVision => 'tile' in config && 'norm' in config;
