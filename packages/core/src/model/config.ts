/**
 * The shape of a checkpoint, read from Hugging Face's `config.json` in any of its layouts: flat (as on the hub), nested
 * under `text_config` (4.5x), or with `rope_parameters` (5.x).
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';

import { z } from 'zod';

import { hasCode, UserError } from '../errors.ts';

export interface VisionConfig {
  readonly depth: number;
  readonly hiddenSize: number;
  readonly heads: number;
  readonly intermediateSize: number;
  /** Width of the text decoder that the merger feeds. */
  readonly outHiddenSize: number;
  readonly inChannels: number;
  readonly patchSize: number;
  readonly temporalPatchSize: number;
  readonly spatialMergeSize: number;
  /** Pixels. */
  readonly windowSize: number;
  readonly fullAttentionBlocks: ReadonlySet<number>;
  readonly ropeTheta: number;
}

export interface TextConfig {
  readonly layers: number;
  readonly hiddenSize: number;
  readonly heads: number;
  readonly keyValueHeads: number;
  readonly headSize: number;
  readonly intermediateSize: number;
  readonly vocabularySize: number;
  readonly rmsNormEps: number;
  readonly ropeTheta: number;
  /** How many rotary frequencies follow time, height and width; they sum to half of the head size. */
  readonly mropeSection: readonly [number, number, number];
  readonly tiedHead: boolean;
}

export interface ModelConfig {
  readonly vision: VisionConfig;
  readonly text: TextConfig;
  readonly imageTokenId: number;
}

const count = z.int().positive();
const rope = z.looseObject({
  rope_theta: z.number().positive().optional(),
  mrope_section: z.array(count).length(3).optional(),
});

const textSchema = z.looseObject({
  hidden_size: count,
  num_hidden_layers: count,
  num_attention_heads: count,
  num_key_value_heads: count.optional(),
  head_dim: count.nullish(),
  intermediate_size: count,
  vocab_size: count,
  rms_norm_eps: z.number().positive().default(1e-5),
  rope_theta: z.number().positive().optional(),
  rope_parameters: rope.nullish(),
  rope_scaling: rope.nullish(),
  tie_word_embeddings: z.boolean().optional(),
  use_sliding_window: z.boolean().default(false),
});

const visionSchema = z.looseObject({
  depth: count,
  hidden_size: count,
  num_heads: count,
  intermediate_size: count,
  out_hidden_size: count,
  in_channels: count.optional(),
  in_chans: count.optional(),
  patch_size: count.default(14),
  temporal_patch_size: count.default(2),
  spatial_merge_size: count.default(2),
  window_size: count.default(112),
  fullatt_block_indexes: z.array(z.int().nonnegative()).default([7, 15, 23, 31]),
  rope_parameters: rope.nullish(),
  hidden_act: z.literal('silu').default('silu'),
});

const rootSchema = z.looseObject({
  model_type: z.literal('qwen2_5_vl'),
  image_token_id: z.int().nonnegative().default(151655),
  tie_word_embeddings: z.boolean().optional(),
  text_config: z.looseObject({}).optional(),
  vision_config: visionSchema,
});

function readText(root: z.output<typeof rootSchema>): TextConfig {
  const text = textSchema.parse(root.text_config ?? root);
  const scaling = text.rope_parameters ?? text.rope_scaling;
  const headSize = text.head_dim ?? text.hidden_size / text.num_attention_heads;
  const [time = 16, height = 24, width = 24] = scaling?.mrope_section ?? [];
  if (2 * (time + height + width) !== headSize) {
    throw new UserError(
      `mrope_section [${[time, height, width].join(', ')}] does not sum to half of the head size ${headSize}`,
    );
  }
  if (text.use_sliding_window) throw new UserError('sliding-window attention of the text decoder is not supported');
  return {
    layers: text.num_hidden_layers,
    hiddenSize: text.hidden_size,
    heads: text.num_attention_heads,
    keyValueHeads: text.num_key_value_heads ?? text.num_attention_heads,
    headSize,
    intermediateSize: text.intermediate_size,
    vocabularySize: text.vocab_size,
    rmsNormEps: text.rms_norm_eps,
    ropeTheta: scaling?.rope_theta ?? text.rope_theta ?? 1_000_000,
    mropeSection: [time, height, width],
    tiedHead: root.tie_word_embeddings ?? text.tie_word_embeddings ?? false,
  };
}

/** @throws UserError when the value describes no model of a supported family. */
export function parseModelConfig(value: unknown): ModelConfig {
  const type = (value as { model_type?: unknown } | null)?.model_type;
  if (type !== 'qwen2_5_vl') {
    throw new UserError(`model_type is ${JSON.stringify(type)}`, {
      remedy: 'supported: qwen2_5_vl',
    });
  }
  const root = rootSchema.parse(value);
  const vision = root.vision_config;
  return {
    imageTokenId: root.image_token_id,
    text: readText(root),
    vision: {
      depth: vision.depth,
      hiddenSize: vision.hidden_size,
      heads: vision.num_heads,
      intermediateSize: vision.intermediate_size,
      outHiddenSize: vision.out_hidden_size,
      inChannels: vision.in_channels ?? vision.in_chans ?? 3,
      patchSize: vision.patch_size,
      temporalPatchSize: vision.temporal_patch_size,
      spatialMergeSize: vision.spatial_merge_size,
      windowSize: vision.window_size,
      fullAttentionBlocks: new Set(vision.fullatt_block_indexes),
      ropeTheta: vision.rope_parameters?.rope_theta ?? 10_000,
    },
  };
}

/** Reads `config.json` of a model directory. @throws UserError naming the file. */
export function loadModelConfig(directory: string): ModelConfig {
  const file = join(directory, 'config.json');
  try {
    return parseModelConfig(JSON.parse(readFileSync(file, 'utf8')));
  } catch (error) {
    if (hasCode(error, 'ENOENT') || hasCode(error, 'ENOTDIR')) {
      throw new UserError(`${directory} is no model directory: config.json is missing`, {
        where: file,
        remedy: 'give a directory in Hugging Face layout (config.json, tokenizer.json, *.safetensors)',
      });
    }
    if (error instanceof UserError) throw new UserError(error.reason, { where: file, remedy: error.remedy });
    if (error instanceof z.ZodError) throw new UserError(z.prettifyError(error), { where: file });
    if (error instanceof SyntaxError) throw new UserError(`not valid JSON: ${error.message}`, { where: file });
    throw error;
  }
}
