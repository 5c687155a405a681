/** The shape of a decoder, read from `text_config` or from the top of `config.json`. */
import { z } from 'zod';

import { UserError } from '../errors.ts';
import { readRecurrent, recurrentFields, type RecurrentConfig, type RecurrentRules } from './recurrent-config.ts';
import { linearScaling, llama3Scaling, scalingFields, yarnScaling, type RopeScaling } from './rope-scaling.ts';

export interface TextConfig {
  readonly layers: number;
  readonly hiddenSize: number;
  readonly heads: number;
  readonly keyValueHeads: number;
  /** Of a head, where a family says it; the width of the stream over the number of heads otherwise. */
  readonly headSize: number;
  readonly intermediateSize: number;
  readonly vocabularySize: number;
  readonly rmsNormEps: number;
  readonly ropeTheta: number;
  /** Channels of a head that turn with positions, the first ones; undefined: all. */
  readonly rotarySize?: number;
  /** How many rotary frequencies follow time, height, width, time again .. */
  readonly mropeSection: readonly number[];
  /** Whether those of the axes take turns (`mropeAxes`); otherwise they lie one section behind the other. */
  readonly mropeInterleaved: boolean;
  /** The scaling of a model whose reach was extended. */
  readonly ropeScaling?: RopeScaling;
  readonly tiedHead: boolean;
  /** Of the projections to queries, keys and values. */
  readonly attentionBias: boolean;
  /** Likewise of the one back to the stream. */
  readonly outputBias: boolean;
  /** Whether each head of queries and keys is normed before it is rotated. */
  readonly queryKeyNorm: boolean;
  /** Longer sequences are refused: some layers see no further, or frequencies would follow from the length. */
  readonly reach?: { readonly tokens: number; readonly of: 'window' | 'dynamic' };
  /** Where some layers are no attention. */
  readonly recurrent?: RecurrentConfig;
}

/** Larger numbers than those of any model are damage, or would fill all memory with its outline. */
export const count = z
  .int()
  .positive()
  .max(1 << 24);
export const layers = count.max(4096);
const share = z.number().positive().max(1);
const rope = z
  .looseObject({
    type: z.string().nullish(),
    rope_type: z.string().nullish(),
    rope_theta: z.number().positive().nullish(),
    mrope_section: z.array(z.int().nonnegative()).min(1).nullish(),
    partial_rotary_factor: share.nullish(),
    ...scalingFields,
  })
  .nullish()
  .transform((value) => (value && Object.keys(value).length > 0 ? value : undefined));

/** What decoders of several families differ in, and the reference's defaults for what a file leaves out. */
export interface TextRules {
  readonly hiddenSize: number;
  readonly layers: number;
  readonly heads: number;
  /** Undefined where they are as many as those of queries. */
  readonly keyValueHeads: number | undefined;
  readonly intermediateSize: number;
  readonly vocabularySize: number;
  readonly rmsNormEps: number;
  readonly length: number;
  /** Where `head_dim` has a meaning: what it is unless said. `width`: the width of the stream over the number of heads. */
  readonly headSize?: number | 'width';
  /** Undefined where a file without one is refused. */
  readonly ropeTheta: number | undefined;
  /** Undefined where positions have one axis. */
  readonly mropeSection: readonly number[] | undefined;
  readonly mropeInterleaved: boolean;
  /** `always`, whatever a file says, of queries, keys and values; or where it says so, of all four projections. */
  readonly attentionBias: 'always' | 'stated';
  readonly queryKeyNorm: boolean;
  /** Share of a head's channels that turn; undefined: all of them, whatever a file says. */
  readonly rotaryShare?: number;
  readonly recurrent?: RecurrentRules;
}

/** Decoders as Qwen2's: biases, heads as wide as the stream is, sections of frequencies in a row. */
export const qwen2Text: TextRules = {
  ...{ hiddenSize: 8192, layers: 80, heads: 64, keyValueHeads: 8, intermediateSize: 29568, vocabularySize: 152064 },
  ...{ rmsNormEps: 1e-5, length: 32768, ropeTheta: 1_000_000, mropeSection: [16, 24, 24] },
  ...{ mropeInterleaved: false, attentionBias: 'always', queryKeyNorm: false },
};

const textSchema = (rules: TextRules) =>
  z.looseObject({
    hidden_size: count.default(rules.hiddenSize),
    num_hidden_layers: layers.default(rules.layers),
    num_attention_heads: count.default(rules.heads),
    num_key_value_heads: count.nullable().optional(),
    intermediate_size: count.default(rules.intermediateSize),
    vocab_size: count.default(rules.vocabularySize),
    hidden_act: z.literal('silu').default('silu'),
    rms_norm_eps: z.number().positive().default(rules.rmsNormEps),
    max_position_embeddings: z.int().positive().default(rules.length),
    head_dim: count.nullish(),
    attention_bias: z.boolean().nullish(),
    rope_theta: z.number().positive().nullish(),
    rope_parameters: rope,
    rope_scaling: rope,
    tie_word_embeddings: z.boolean().nullish(),
    layer_types: z.array(z.string()).nullish(),
    use_sliding_window: z.boolean().nullish(),
    sliding_window: z.int().positive().nullish(),
    max_window_layers: z.int().nullish(),
    partial_rotary_factor: share.nullish(),
    ...recurrentFields,
  });
type TextFile = z.output<ReturnType<typeof textSchema>>;

interface Root {
  readonly text_config?: object | null | undefined;
  readonly tie_word_embeddings?: boolean | null | undefined;
}

type RopeConfig = Pick<
  TextConfig,
  'ropeTheta' | 'rotarySize' | 'mropeSection' | 'mropeInterleaved' | 'ropeScaling' | 'reach'
>;

/** Which rotary frequencies turn with what. Kinds whose frequencies depend on the prompt are refused, never ignored. */
function readRope(text: TextFile, headSize: number, rules: TextRules): RopeConfig {
  const parameters = text.rope_scaling ?? text.rope_parameters;
  const mropeSection = rules.mropeSection ? (parameters?.mrope_section ?? rules.mropeSection) : [headSize / 2];
  const { mropeInterleaved } = rules;
  const listed = `mrope_section [${mropeSection.join(', ')}]`;
  if (mropeInterleaved && mropeSection.length < 3) throw new UserError(`${listed} lacks one of time, height and width`);
  if (!mropeInterleaved && 2 * mropeSection.reduce((sum, each) => sum + each, 0) !== headSize) {
    throw new UserError(`${listed} does not sum to half of the head size ${headSize}`);
  }
  const theta = parameters?.rope_theta ?? text.rope_parameters?.rope_theta ?? text.rope_theta ?? rules.ropeTheta;
  if (theta === undefined) {
    throw new UserError('rope_theta is missing', {
      remedy: 'Add the rope_theta of the checkpoint: the reference would take a number that no published model has.',
    });
  }
  const rotarySize = readRotarySize(text, headSize, rules);
  const read = { ropeTheta: theta, mropeSection, mropeInterleaved, ...(rotarySize !== undefined && { rotarySize }) };
  const kind = parameters?.rope_type ?? parameters?.type ?? 'default';
  if (kind === 'default' || kind === 'mrope') return read;
  // What it changes begins behind the trained length.
  if (kind === 'dynamic') return { ...read, reach: { tokens: text.max_position_embeddings, of: 'dynamic' } };
  if (kind === 'linear' && parameters?.factor) return { ...read, ropeScaling: linearScaling(parameters.factor) };
  if (kind === 'llama3' && parameters) return { ...read, ropeScaling: llama3Scaling(parameters) };
  if (kind === 'yarn' && parameters) {
    const length = text.max_position_embeddings;
    return { ...read, ropeScaling: yarnScaling(parameters, { headSize: rotarySize ?? headSize, theta, length }) };
  }
  throw new UserError(`rotary embeddings of type ${kind} are not supported`, {
    remedy: 'Remove the scaling from config.json; prompts then reach as far as the model was trained.',
  });
}

/** How many channels of a head turn; undefined where all do. */
function readRotarySize(text: TextFile, headSize: number, { rotaryShare }: TextRules): number | undefined {
  if (rotaryShare === undefined) return undefined;
  const { rope_scaling: old, rope_parameters: parameters, partial_rotary_factor: own } = text;
  const part = old?.partial_rotary_factor ?? parameters?.partial_rotary_factor ?? own ?? rotaryShare;
  const size = Math.floor(headSize * part);
  if (size === headSize) return undefined;
  if (size > 0 && size % 2 === 0) return size;
  throw new UserError(`partial_rotary_factor is ${part}: ${size} of ${headSize} channels do not rotate in pairs`);
}

/** How far some layers see; infinity where all of them see everything. */
function readSlidingWindow(text: TextFile): number {
  const { use_sliding_window, sliding_window, max_window_layers, num_hidden_layers, layer_types } = text;
  if (!use_sliding_window || sliding_window === null) return Infinity;
  const slides = layer_types
    ? layer_types.includes('sliding_attention')
    : (max_window_layers ?? 80) < num_hidden_layers;
  return slides ? (sliding_window ?? 4096) : Infinity;
}

/** @param root the whole file, which may hold the decoder's settings itself */
export function readText(root: Root, rules: TextRules): TextConfig {
  const text = textSchema(rules).parse(root.text_config ?? root);
  const slidingWindow = readSlidingWindow(text);
  const isAlways = rules.attentionBias === 'always';
  const ownSize = rules.headSize !== undefined;
  const byWidth = text.hidden_size / text.num_attention_heads;
  const headSize = ownSize ? (text.head_dim ?? (rules.headSize === 'width' ? byWidth : rules.headSize)) : byWidth;
  if (headSize % 2 === 1) throw new UserError(`heads of ${headSize} channels do not rotate: their number must be even`);
  const { num_key_value_heads: said = rules.keyValueHeads } = text;
  const keyValueHeads = said ?? text.num_attention_heads;
  if (!Number.isInteger(headSize) || text.num_attention_heads % keyValueHeads !== 0) {
    throw new UserError(
      `${text.num_attention_heads} attention heads fit neither a hidden size of ${text.hidden_size} ` +
        `nor ${keyValueHeads} key and value heads`,
    );
  }
  if (!ownSize && text.head_dim && text.head_dim !== headSize) {
    throw new UserError(`head_dim is ${text.head_dim}, but ${text.hidden_size} channels in heads make ${headSize}`, {
      remedy: 'These families have heads of hidden_size / num_attention_heads channels: remove head_dim.',
    });
  }
  const rotary = readRope(text, headSize, rules);
  return {
    layers: text.num_hidden_layers,
    hiddenSize: text.hidden_size,
    heads: text.num_attention_heads,
    keyValueHeads,
    headSize,
    intermediateSize: text.intermediate_size,
    vocabularySize: text.vocab_size,
    rmsNormEps: text.rms_norm_eps,
    ...rotary,
    ...(slidingWindow < (rotary.reach?.tokens ?? Infinity) && { reach: { tokens: slidingWindow, of: 'window' } }),
    attentionBias: isAlways || (text.attention_bias ?? false),
    outputBias: !isAlways && (text.attention_bias ?? false),
    queryKeyNorm: rules.queryKeyNorm,
    ...(rules.recurrent && { recurrent: readRecurrent(text, rules.recurrent) }),
    tiedHead: (root.tie_word_embeddings ?? false) || (text.tie_word_embeddings ?? false),
  };
}
