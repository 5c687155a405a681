/**
 * The files of a miniature's checkpoint beside its weights, in Hugging Face layout: Qwen2.5-VL, Qwen2-VL or Qwen3-VL at
 * under two million parameters.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { SIDE } from './scenes.ts';
import { VOCABULARY, type Vocabulary } from './vocabulary.ts';

const PATCH = 14;
/** Of Qwen3-VL, which sees a picture larger by 16 / 14, in as many patches. */
const LATER_PATCH = 16;
/** Patches along a side of a picture. */
const PATCHES = SIDE / PATCH;
const MERGE = 2;
const HIDDEN = 128;

/** Which architecture, and which words. */
export interface Miniature {
  readonly family: 'qwen2_5_vl' | 'qwen2_vl' | 'qwen3_vl';
  readonly vocabulary: Vocabulary;
}

/** The demo's model. */
export const MINIATURE: Miniature = { family: 'qwen2_5_vl', vocabulary: VOCABULARY };

const NAMES = { qwen2_5_vl: 'Qwen2_5_VL', qwen2_vl: 'Qwen2VL', qwen3_vl: 'Qwen3VL' } as const;

/** What the vision towers have, by the names of each. */
const VISION_CONFIGS = {
  qwen2_5_vl: {
    model_type: 'qwen2_5_vl_vision',
    depth: 4,
    hidden_size: 96,
    hidden_act: 'silu',
    intermediate_size: 256,
    num_heads: 3,
    in_channels: 3,
    patch_size: PATCH,
    spatial_merge_size: MERGE,
    temporal_patch_size: 2,
    tokens_per_second: 4,
    window_size: SIDE / 2,
    fullatt_block_indexes: [1, 3],
    out_hidden_size: HIDDEN,
    initializer_range: 0.02,
    rope_parameters: { rope_type: 'axial', rope_theta: 10_000 },
  },
  qwen2_vl: {
    model_type: 'qwen2_vl_vision',
    depth: 4,
    embed_dim: 96,
    hidden_size: HIDDEN,
    hidden_act: 'quick_gelu',
    mlp_ratio: 4,
    num_heads: 3,
    in_channels: 3,
    patch_size: PATCH,
    spatial_merge_size: MERGE,
    temporal_patch_size: 2,
    initializer_range: 0.02,
    rope_parameters: { rope_type: 'axial', rope_theta: 10_000 },
  },
  qwen3_vl: {
    model_type: 'qwen3_vl_vision',
    depth: 4,
    deepstack_visual_indexes: [1, 2],
    hidden_size: 96,
    hidden_act: 'gelu_pytorch_tanh',
    intermediate_size: 256,
    num_heads: 3,
    num_position_embeddings: 12 * 12,
    in_channels: 3,
    patch_size: LATER_PATCH,
    spatial_merge_size: MERGE,
    temporal_patch_size: 2,
    out_hidden_size: HIDDEN,
    initializer_range: 0.02,
    rope_parameters: { rope_type: 'axial', rope_theta: 10_000 },
  },
} as const;

const qwen2Text = {
  use_sliding_window: false,
  sliding_window: null,
  layer_types: ['full_attention', 'full_attention', 'full_attention', 'full_attention'],
  // Prompts are short, so are the wave lengths.
  rope_parameters: { rope_type: 'default', rope_theta: 10, mrope_section: [4, 6, 6] },
};

/** What decoders have by the names of each. */
const TEXT_CONFIGS = {
  qwen2_5_vl: qwen2Text,
  qwen2_vl: qwen2Text,
  qwen3_vl: {
    attention_bias: false,
    head_dim: 32,
    rope_parameters: { rope_type: 'default', rope_theta: 10, mrope_interleaved: true, mrope_section: [6, 5, 5] },
  },
} as const;

/** `config.json`, as transformers 5 writes it. */
export const modelConfig = ({ family, vocabulary }: Miniature) => ({
  architectures: [`${NAMES[family]}ForConditionalGeneration`],
  model_type: family,
  dtype: 'float32',
  tie_word_embeddings: true,
  image_token_id: vocabulary.idOf('<|image_pad|>'),
  video_token_id: vocabulary.idOf('<|video_pad|>'),
  vision_start_token_id: vocabulary.idOf('<|vision_start|>'),
  vision_end_token_id: vocabulary.idOf('<|vision_end|>'),
  text_config: {
    model_type: `${family}_text`,
    vocab_size: vocabulary.size,
    hidden_size: HIDDEN,
    intermediate_size: 352,
    num_hidden_layers: 4,
    num_attention_heads: 4,
    num_key_value_heads: 2,
    hidden_act: 'silu',
    max_position_embeddings: 512,
    initializer_range: 0.02,
    rms_norm_eps: 1e-6,
    attention_dropout: 0,
    use_cache: true,
    ...TEXT_CONFIGS[family],
    tie_word_embeddings: true,
    bos_token_id: null,
    eos_token_id: vocabulary.idOf('<|im_end|>'),
    pad_token_id: vocabulary.idOf('<|endoftext|>'),
  },
  vision_config: VISION_CONFIGS[family],
});

/** Patch, and statistics of the values. */
const PICTURES = {
  clip: { mean: [0.48145466, 0.4578275, 0.40821073], std: [0.26862954, 0.26130258, 0.27577711], patch: PATCH },
  halves: { mean: [0.5, 0.5, 0.5], std: [0.5, 0.5, 0.5], patch: LATER_PATCH },
};

/** Pictures are shown as `PATCHES` x `PATCHES` patches at most. */
function imageProcessor(family: Miniature['family']) {
  const { mean, std, patch } = family === 'qwen3_vl' ? PICTURES.halves : PICTURES.clip;
  return {
    do_convert_rgb: true,
    do_normalize: true,
    do_rescale: true,
    do_resize: true,
    image_mean: mean,
    image_std: std,
    image_processor_type: 'Qwen2VLImageProcessor',
    merge_size: MERGE,
    patch_size: patch,
    resample: 3,
    rescale_factor: 1 / 255,
    size: { shortest_edge: (2 * patch * MERGE) ** 2, longest_edge: (PATCHES * patch) ** 2 },
    temporal_patch_size: 2,
  };
}

/** Turns without line breaks and without a system turn: every token of the miniature's prompt says something. */
const chatTemplate =
  "{% for message in messages %}<|im_start|>{{ message['role'] }}" +
  "{% if message['content'] is string %}{{ message['content'] }}" +
  "{% else %}{% for part in message['content'] %}" +
  "{% if part['type'] == 'image' or 'image' in part %}<|vision_start|><|image_pad|><|vision_end|>" +
  "{% elif 'text' in part %}{{ part['text'] }}{% endif %}{% endfor %}{% endif %}<|im_end|>{% endfor %}" +
  '{% if add_generation_prompt %}<|im_start|>assistant{% endif %}';

const generationConfig = ({ vocabulary }: Miniature) => ({
  do_sample: false,
  eos_token_id: [vocabulary.idOf('<|im_end|>'), vocabulary.idOf('<|endoftext|>')],
  pad_token_id: vocabulary.idOf('<|endoftext|>'),
});

const tokenizerConfig = ({ family }: Miniature) => ({
  tokenizer_class: 'PreTrainedTokenizerFast',
  processor_class: `${NAMES[family]}Processor`,
  add_prefix_space: false,
  bos_token: null,
  eos_token: '<|im_end|>',
  pad_token: '<|endoftext|>',
  unk_token: null,
  clean_up_tokenization_spaces: false,
  model_max_length: 512,
  split_special_tokens: false,
});

/** Writes every file of the checkpoint but the weights. */
export function writeCheckpointFiles(directory: string, miniature = MINIATURE): void {
  mkdirSync(directory, { recursive: true });
  const files: Readonly<Record<string, object>> = {
    'config.json': modelConfig(miniature),
    'generation_config.json': generationConfig(miniature),
    'preprocessor_config.json': {
      ...imageProcessor(miniature.family),
      processor_class: `${NAMES[miniature.family]}Processor`,
    },
    'tokenizer.json': miniature.vocabulary.tokenizerJson(),
    'tokenizer_config.json': tokenizerConfig(miniature),
  };
  for (const [name, content] of Object.entries(files))
    writeFileSync(join(directory, name), `${JSON.stringify(content, undefined, 2)}\n`);
  writeFileSync(join(directory, 'chat_template.jinja'), chatTemplate);
}
