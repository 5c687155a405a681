/** Configurations of published sizes, in every form that files have. */
import { nn, scope } from '@visurf/torch';
import { expect, test } from 'vitest';

import { VisionLanguageModel } from '../../model/vlm.ts';
import { parseModelConfig } from '../config.ts';

const small = { depth: 24, hidden_size: 1024, intermediate_size: 4096, deepstack_visual_indexes: [5, 11, 17] };
const large = { depth: 27, hidden_size: 1152, intermediate_size: 4304, deepstack_visual_indexes: [8, 16, 24] };

/** Layers, width, feed-forward, heads; the tower; whether the head is tied. */
const sizes = {
  '2B': [28, 2048, 6144, 16, small, true],
  '4B': [36, 2560, 9728, 32, small, true],
  '8B': [36, 4096, 12288, 32, large, false],
  '32B': [64, 5120, 25600, 64, large, false],
} as const;

function published(size: keyof typeof sizes) {
  const [layers, width, inner, heads, tower, tied] = sizes[size];
  return {
    architectures: ['Qwen3VLForConditionalGeneration'],
    image_token_id: 151655,
    model_type: 'qwen3_vl',
    text_config: {
      attention_bias: false,
      dtype: 'bfloat16',
      head_dim: 128,
      hidden_act: 'silu',
      hidden_size: width,
      intermediate_size: inner,
      max_position_embeddings: 262144,
      model_type: 'qwen3_vl_text',
      num_attention_heads: heads,
      num_hidden_layers: layers,
      num_key_value_heads: 8,
      rms_norm_eps: 1e-6,
      rope_scaling: { mrope_interleaved: true, mrope_section: [24, 20, 20], rope_type: 'default' },
      rope_theta: 5000000,
      tie_word_embeddings: tied,
      vocab_size: 151936,
    },
    tie_word_embeddings: tied,
    video_token_id: 151656,
    vision_config: {
      ...tower,
      hidden_act: 'gelu_pytorch_tanh',
      in_channels: 3,
      model_type: 'qwen3_vl',
      num_heads: 16,
      num_position_embeddings: 2304,
      out_hidden_size: width,
      patch_size: 16,
      spatial_merge_size: 2,
      temporal_patch_size: 2,
    },
  };
}

test('biases are where the file says so, of all four projections', () => {
  expect(parseModelConfig(published('2B')).text).toMatchObject({ attentionBias: false, outputBias: false });
  expect(parseModelConfig(changed({ attention_bias: true })).text).toMatchObject({
    attentionBias: true,
    outputBias: true,
  });
});

/** Of the published 2B in billions, whose file in bfloat16 has 4.26 GB; of the others as they follow from their shapes. */
test.each([
  ['2B', 2.128],
  ['4B', 4.438],
  ['8B', 8.767],
  ['32B', 33.357],
] as const)('%s has %s billion parameters', (size, billions) => {
  const model = parseModelConfig(published(size));
  const count = scope(() => {
    const shapes = [
      ...nn
        .outline(() => new VisionLanguageModel(model))
        .namedParameters()
        .values(),
    ].map(({ shape }) => shape);
    return shapes.reduce((sum, shape) => sum + shape.reduce((a, b) => a * b, 1), 0);
  });
  expect(count / 1e9).toBeCloseTo(billions, 3);
});

test('what a file of the hub says', () => {
  const { family, text, vision } = parseModelConfig(published('4B'));
  expect([family.title, family.coordinates]).toEqual(['Qwen3-VL', 'thousandths']);
  expect(text).toMatchObject({ headSize: 128, heads: 32, hiddenSize: 2560, keyValueHeads: 8, tiedHead: true });
  expect(text).toMatchObject({
    ropeTheta: 5e6,
    mropeSection: [24, 20, 20],
    mropeInterleaved: true,
    queryKeyNorm: true,
  });
  expect(vision).toMatchObject({ positionSide: 48, deepstack: [5, 11, 17], patchSize: 16, isGated: false, heads: 16 });
});

const changed = (text: object, vision: object = {}): unknown => {
  const file = published('2B');
  return {
    ...file,
    text_config: { ...file.text_config, ...text },
    vision_config: { ...file.vision_config, ...vision },
  };
};

test.each([
  ['rope_parameters', { rope_parameters: { rope_type: 'default', rope_theta: 5e6, mrope_section: [24, 20, 20] } }],
  ['rope_parameters beside rope_theta', { rope_parameters: { mrope_section: [24, 20, 20] }, rope_theta: 5e6 }],
  ['an old name of the kind', { rope_scaling: { type: 'default', mrope_section: [24, 20, 20] }, rope_theta: 5e6 }],
  ['the default section', { rope_theta: 5e6 }],
])('rotary settings as %s say the same', (_, rope) => {
  const { rope_scaling: _scaling, rope_theta: _theta, ...rest } = published('2B').text_config;
  const file = { ...published('2B'), text_config: { ...rest, ...rope } };
  expect(parseModelConfig(file).text).toEqual(parseModelConfig(published('2B')).text);
});

test.each([
  ['no rotary base', changed({ rope_theta: undefined }), 'rope_theta is missing'],
  ['heads that do not rotate', changed({ head_dim: 127 }), '127 channels'],
  ['key heads that do not divide', changed({ num_key_value_heads: 3 }), '16 attention heads'],
  ['a table that is no square', changed({}, { num_position_embeddings: 2300 }), 'no square'],
  ['a block before the first', changed({}, { deepstack_visual_indexes: [5, -1] }), 'numbers of blocks'],
  ['a block named twice', changed({}, { deepstack_visual_indexes: [5, 5] }), 'each once'],
  ['a tower of another width', changed({}, { out_hidden_size: 1024 }), '1024 channels into a decoder of 2048'],
  ['another activation', changed({}, { hidden_act: 'gelu' }), 'hidden_act'],
  ['a head as large as no model has', changed({ head_dim: 1 << 25 }), 'head_dim'],
])('%s is refused', (_, file, message) => {
  expect(() => parseModelConfig(file)).toThrow(message);
});
