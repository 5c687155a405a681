/** The files of the miniature's checkpoint beside its weights, in Hugging Face layout: Qwen2.5-VL at 1.5M parameters. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { SIDE } from './scenes.ts';
import { idOf, tokenizerJson, VOCABULARY_SIZE } from './vocabulary.ts';

const PATCH = 14;
const MERGE = 2;
const HIDDEN = 128;

/** `config.json`, as transformers 5 writes it. */
export const modelConfig = {
  architectures: ['Qwen2_5_VLForConditionalGeneration'],
  model_type: 'qwen2_5_vl',
  dtype: 'float32',
  tie_word_embeddings: true,
  image_token_id: idOf('<|image_pad|>'),
  video_token_id: idOf('<|video_pad|>'),
  vision_start_token_id: idOf('<|vision_start|>'),
  vision_end_token_id: idOf('<|vision_end|>'),
  text_config: {
    model_type: 'qwen2_5_vl_text',
    vocab_size: VOCABULARY_SIZE,
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
    use_sliding_window: false,
    sliding_window: null,
    layer_types: ['full_attention', 'full_attention', 'full_attention', 'full_attention'],
    // Prompts are short, so are the wave lengths.
    rope_parameters: { rope_type: 'default', rope_theta: 10, mrope_section: [4, 6, 6] },
    tie_word_embeddings: true,
    bos_token_id: null,
    eos_token_id: idOf('<|im_end|>'),
    pad_token_id: idOf('<|endoftext|>'),
  },
  vision_config: {
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
};

const imageProcessor = {
  do_convert_rgb: true,
  do_normalize: true,
  do_rescale: true,
  do_resize: true,
  image_mean: [0.48145466, 0.4578275, 0.40821073],
  image_std: [0.26862954, 0.26130258, 0.27577711],
  image_processor_type: 'Qwen2VLImageProcessor',
  merge_size: MERGE,
  patch_size: PATCH,
  resample: 3,
  rescale_factor: 1 / 255,
  size: { shortest_edge: (2 * PATCH * MERGE) ** 2, longest_edge: SIDE ** 2 },
  temporal_patch_size: 2,
};

/** Turns without line breaks and without a system turn: every token of the miniature's prompt says something. */
const chatTemplate =
  "{% for message in messages %}<|im_start|>{{ message['role'] }}" +
  "{% if message['content'] is string %}{{ message['content'] }}" +
  "{% else %}{% for part in message['content'] %}" +
  "{% if part['type'] == 'image' or 'image' in part %}<|vision_start|><|image_pad|><|vision_end|>" +
  "{% elif 'text' in part %}{{ part['text'] }}{% endif %}{% endfor %}{% endif %}<|im_end|>{% endfor %}" +
  '{% if add_generation_prompt %}<|im_start|>assistant{% endif %}';

const generationConfig = {
  do_sample: false,
  eos_token_id: [idOf('<|im_end|>'), idOf('<|endoftext|>')],
  pad_token_id: idOf('<|endoftext|>'),
};

const tokenizerConfig = {
  tokenizer_class: 'PreTrainedTokenizerFast',
  processor_class: 'Qwen2_5_VLProcessor',
  add_prefix_space: false,
  bos_token: null,
  eos_token: '<|im_end|>',
  pad_token: '<|endoftext|>',
  unk_token: null,
  clean_up_tokenization_spaces: false,
  model_max_length: 512,
  split_special_tokens: false,
};

/** Writes every file of the checkpoint but the weights. */
export function writeCheckpointFiles(directory: string): void {
  mkdirSync(directory, { recursive: true });
  const files: Readonly<Record<string, object>> = {
    'config.json': modelConfig,
    'generation_config.json': generationConfig,
    'preprocessor_config.json': { ...imageProcessor, processor_class: 'Qwen2_5_VLProcessor' },
    'tokenizer.json': tokenizerJson(),
    'tokenizer_config.json': tokenizerConfig,
  };
  for (const [name, content] of Object.entries(files))
    writeFileSync(join(directory, name), `${JSON.stringify(content, undefined, 2)}\n`);
  writeFileSync(join(directory, 'chat_template.jinja'), chatTemplate);
}
