/** The shape of a decoder, read from `text_config` or from the top of `config.json`. */
import { z } from 'zod';

import { UserError } from '../errors.ts';
import { linearScaling, scalingFields, yarnScaling, type RopeScaling } from './rope-scaling.ts';

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
  /** How many rotary frequencies follow time, height, width, time again ..; they sum to half of the head size. */
  readonly mropeSection: readonly number[];
  /** The scaling of a model whose reach was extended. */
  readonly ropeScaling?: RopeScaling;
  readonly tiedHead: boolean;
  /** Tokens that some layers see; longer sequences are refused. */
  readonly slidingWindow?: number;
}

/** Larger numbers than those of any model are damage, or would fill all memory with its outline. */
export const count = z
  .int()
  .positive()
  .max(1 << 24);
export const layers = count.max(4096);
const rope = z
  .looseObject({
    type: z.string().nullish(),
    rope_type: z.string().nullish(),
    rope_theta: z.number().positive().nullish(),
    mrope_section: z.array(z.int().nonnegative()).min(1).nullish(),
    ...scalingFields,
  })
  .nullish()
  .transform((value) => (value && Object.keys(value).length > 0 ? value : undefined));

const textSchema = z.looseObject({
  hidden_size: count.default(8192),
  num_hidden_layers: layers.default(80),
  num_attention_heads: count.default(64),
  num_key_value_heads: count.nullable().default(8),
  intermediate_size: count.default(29568),
  vocab_size: count.default(152064),
  hidden_act: z.literal('silu').default('silu'),
  rms_norm_eps: z.number().positive().default(1e-5),
  max_position_embeddings: z.int().positive().default(32768),
  head_dim: z.int().nullish(),
  rope_theta: z.number().positive().nullish(),
  rope_parameters: rope,
  rope_scaling: rope,
  tie_word_embeddings: z.boolean().nullish(),
  layer_types: z.array(z.string()).nullish(),
  use_sliding_window: z.boolean().nullish(),
  sliding_window: z.int().positive().nullish(),
  max_window_layers: z.int().nullish(),
});
type TextFile = z.output<typeof textSchema>;

interface Root {
  readonly text_config?: object | null | undefined;
  readonly tie_word_embeddings?: boolean | null | undefined;
}

/** Which rotary frequencies turn with what. Kinds whose frequencies depend on the prompt are refused, never ignored. */
function readRope(text: TextFile, headSize: number): Pick<TextConfig, 'ropeTheta' | 'mropeSection' | 'ropeScaling'> {
  const parameters = text.rope_scaling ?? text.rope_parameters;
  const mropeSection = parameters?.mrope_section ?? [16, 24, 24];
  if (2 * mropeSection.reduce((sum, each) => sum + each, 0) !== headSize) {
    throw new UserError(`mrope_section [${mropeSection.join(', ')}] does not sum to half of the head size ${headSize}`);
  }
  const theta = parameters?.rope_theta ?? text.rope_theta ?? 1_000_000;
  const read = { ropeTheta: theta, mropeSection };
  const kind = parameters?.rope_type ?? parameters?.type ?? 'default';
  if (kind === 'default' || kind === 'mrope') return read;
  if (kind === 'linear' && parameters?.factor) return { ...read, ropeScaling: linearScaling(parameters.factor) };
  if (kind === 'yarn' && parameters) {
    const length = text.max_position_embeddings;
    return { ...read, ropeScaling: yarnScaling(parameters, { headSize, theta, length }) };
  }
  throw new UserError(`rotary embeddings of type ${kind} are not supported`, {
    remedy: 'Remove the scaling from config.json; prompts then reach as far as the model was trained.',
  });
}

/** How far some layers see; undefined where all of them see everything. */
function readSlidingWindow(text: TextFile): number | undefined {
  const { use_sliding_window, sliding_window, max_window_layers, num_hidden_layers, layer_types } = text;
  if (!use_sliding_window || sliding_window === null) return undefined;
  const slides = layer_types
    ? layer_types.includes('sliding_attention')
    : (max_window_layers ?? 80) < num_hidden_layers;
  return slides ? (sliding_window ?? 4096) : undefined;
}

/** @param root the whole file, which may hold the decoder's settings itself */
export function readText(root: Root): TextConfig {
  const text = textSchema.parse(root.text_config ?? root);
  const slidingWindow = readSlidingWindow(text);
  const headSize = text.hidden_size / text.num_attention_heads;
  const keyValueHeads = text.num_key_value_heads ?? text.num_attention_heads;
  if (!Number.isInteger(headSize) || text.num_attention_heads % keyValueHeads !== 0) {
    throw new UserError(
      `${text.num_attention_heads} attention heads fit neither a hidden size of ${text.hidden_size} ` +
        `nor ${keyValueHeads} key and value heads`,
    );
  }
  if (text.head_dim && text.head_dim !== headSize) {
    throw new UserError(`head_dim is ${text.head_dim}, but ${text.hidden_size} channels in heads make ${headSize}`, {
      remedy: 'These families have heads of hidden_size / num_attention_heads channels: remove head_dim.',
    });
  }
  return {
    layers: text.num_hidden_layers,
    hiddenSize: text.hidden_size,
    heads: text.num_attention_heads,
    keyValueHeads,
    headSize,
    intermediateSize: text.intermediate_size,
    vocabularySize: text.vocab_size,
    rmsNormEps: text.rms_norm_eps,
    ...readRope(text, headSize),
    ...(slidingWindow !== undefined && { slidingWindow }),
    tiedHead: (root.tie_word_embeddings ?? false) || (text.tie_word_embeddings ?? false),
  };
}
