/** `config.json`: a tower of SigLIP's build, a pixel shuffle, a Llama; what a file leaves out has the classes' defaults. */
import { z } from 'zod';

import { UserError } from '../../errors.ts';
import type { ModelShape } from '../config.ts';
import { count, layers, readText, type TextRules } from '../text-config.ts';
import type { VisionConfig } from '../vision-config.ts';

/** What is known of the tower beside what all towers have. */
export interface TileVision extends VisionConfig {
  /** Rows and columns of the table of learned positions. */
  readonly positionSide: number;
  readonly normEps: number;
}

const llamaText: TextRules = {
  ...{ hiddenSize: 4096, layers: 32, heads: 32, keyValueHeads: undefined, intermediateSize: 11008 },
  ...{ vocabularySize: 32000, rmsNormEps: 1e-6, length: 2048, ropeTheta: 10_000, mropeSection: undefined },
  ...{ headSize: 'width', mropeInterleaved: false, attentionBias: 'stated', queryKeyNorm: false },
};

/** One number, or height and width. */
export const side = z.union([count, z.array(count).length(2)]);

const visionSchema = z.looseObject({
  hidden_size: count.default(1152),
  intermediate_size: count.default(3072),
  num_hidden_layers: layers.default(12),
  num_attention_heads: count.default(16),
  num_channels: z.literal(3).default(3),
  image_size: side.default(224),
  patch_size: side.default(32),
  hidden_act: z.literal('gelu_pytorch_tanh').default('gelu_pytorch_tanh'),
  layer_norm_eps: z.number().positive().default(1e-6),
});

const never = z.literal(false).default(false);
const rootSchema = z.looseObject({
  image_token_id: z.int().nonnegative().default(128257),
  scale_factor: count.default(2),
  tie_word_embeddings: z.boolean().nullish(),
  // Absent, its norms have another eps than where it is there and leaves that out.
  text_config: z
    .looseObject({
      model_type: z.literal('llama').default('llama'),
      mlp_bias: never,
      qk_layer_norms: never,
    })
    .default({
      model_type: 'llama',
      mlp_bias: false,
      qk_layer_norms: false,
      rms_norm_eps: 1e-5,
    }),
  vision_config: visionSchema.default(() => visionSchema.parse({})),
});

/** The side of a square. @throws UserError where it is none */
export function square(value: number | readonly number[], name: string): number {
  const [height, width] = typeof value === 'number' ? [value, value] : value;
  if (height === width) return height!;
  throw new UserError(`vision_config.${name} is ${height} x ${width}: only squares are known`);
}

/** @throws UserError or ZodError where the file describes no model of this build */
export function readConfig(file: unknown): ModelShape {
  const root = rootSchema.parse(file);
  const { vision_config: tower, scale_factor: spatialMergeSize } = root;
  const text = readText(root, llamaText);
  if (tower.hidden_size % tower.num_attention_heads !== 0) {
    throw new UserError(
      `${tower.num_attention_heads} heads of the vision tower do not fit a width of ${tower.hidden_size}`,
    );
  }
  const patchSize = square(tower.patch_size, 'patch_size');
  const positionSide = Math.floor(square(tower.image_size, 'image_size') / patchSize);
  if (positionSide < 1)
    throw new UserError(`patches of ${patchSize} pixels are larger than the images of the vision tower`);
  const vision: TileVision = {
    depth: tower.num_hidden_layers,
    hiddenSize: tower.hidden_size,
    heads: tower.num_attention_heads,
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
    positionSide,
    normEps: tower.layer_norm_eps,
  };
  return { vision, text, imageTokenId: root.image_token_id, videoTokenId: undefined };
}
