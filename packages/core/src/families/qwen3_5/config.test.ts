/** Configurations of published sizes, and what a file may say otherwise. */
import { nn, scope } from '@visurf/torch';
import { expect, test } from 'vitest';

import { VisionLanguageModel } from '../../model/vlm.ts';
import { layerCounts } from '../../model/recurrent-config.ts';
import { parseModelConfig } from '../config.ts';

/** Layers, width, feed-forward, heads and key heads, value heads of linear layers; depth, width, feed-forward, heads of the tower. */
const sizes = {
  '0.8B': [24, 1024, 3584, 8, 2, 16, 12, 768, 3072, 12, true],
  '2B': [24, 2048, 6144, 8, 2, 16, 24, 1024, 4096, 16, true],
  '4B': [32, 2560, 9216, 16, 4, 32, 24, 1024, 4096, 16, true],
  '9B': [32, 4096, 12288, 16, 4, 32, 27, 1152, 4304, 16, false],
  '27B': [64, 5120, 17408, 24, 4, 48, 27, 1152, 4304, 16, false],
} as const;

function published(size: keyof typeof sizes, text: object = {}) {
  const [layers, width, inner, heads, keyHeads, valueHeads, depth, tower, towerInner, towerHeads, tied] = sizes[size];
  return {
    model_type: 'qwen3_5',
    image_token_id: 248056,
    video_token_id: 248057,
    tie_word_embeddings: tied,
    text_config: {
      ...{ attention_bias: false, attn_output_gate: true, dtype: 'bfloat16', eos_token_id: 248044, head_dim: 256 },
      ...{ full_attention_interval: 4, hidden_act: 'silu', hidden_size: width, intermediate_size: inner },
      layer_types: Array.from({ length: layers }, (_, i) => (i % 4 === 3 ? 'full_attention' : 'linear_attention')),
      ...{ linear_conv_kernel_dim: 4, linear_key_head_dim: 128, linear_value_head_dim: 128 },
      ...{ linear_num_key_heads: 16, linear_num_value_heads: valueHeads, mamba_ssm_dtype: 'float32' },
      ...{ max_position_embeddings: 262144, mlp_only_layers: [], model_type: 'qwen3_5_text', mtp_num_hidden_layers: 1 },
      ...{ num_attention_heads: heads, num_hidden_layers: layers, num_key_value_heads: keyHeads, rms_norm_eps: 1e-6 },
      rope_parameters: {
        ...{ mrope_interleaved: true, mrope_section: [11, 11, 10], partial_rotary_factor: 0.25 },
        ...{ rope_theta: 10000000, rope_type: 'default' },
      },
      vocab_size: 248320,
      ...text,
    },
    vision_config: {
      ...{
        deepstack_visual_indexes: [],
        depth,
        hidden_size: tower,
        intermediate_size: towerInner,
        num_heads: towerHeads,
      },
      ...{ hidden_act: 'gelu_pytorch_tanh', in_channels: 3, model_type: 'qwen3_5', num_position_embeddings: 2304 },
      ...{ out_hidden_size: width, patch_size: 16, spatial_merge_size: 2, temporal_patch_size: 2 },
    },
  };
}

const elements = (shape: readonly number[]): number => shape.reduce((a, b) => a * b, 1);

test.each([
  ['0.8B', 0.85],
  ['2B', 2.21],
  ['4B', 4.54],
  ['9B', 9.41],
  ['27B', 27.36],
] as const)('%s has %s billion parameters', (size, billions) => {
  const config = parseModelConfig(published(size));
  const count = scope(() => {
    const model = nn.outline(() => new VisionLanguageModel(config));
    return [...model.namedParameters().values()].reduce((sum, { shape }) => sum + elements(shape), 0);
  });
  expect(count / 1e9).toBeCloseTo(billions, 2);
});

test('a rollout of the 2B holds 19 MiB and 24 KiB per token', () => {
  const { family, text } = parseModelConfig(published('2B'));
  const { attention, recurrent } = layerCounts(text);
  expect([attention, recurrent]).toEqual([6, 18]);
  expect((recurrent * family.kept.recurrent!(text, false).state * 4) / 2 ** 20).toBeCloseTo(19.27, 2);
  expect((attention * 2 * text.keyValueHeads * text.headSize * 4) / 2 ** 10).toBe(24);
});

test('what a file of the hub says', () => {
  const { family, text, vision, imageTokenId } = parseModelConfig(published('4B'));
  expect([family.title, family.coordinates, imageTokenId]).toEqual(['Qwen3.5', 'thousandths', 248056]);
  expect(text).toMatchObject({ headSize: 256, rotarySize: 64, ropeTheta: 1e7, mropeInterleaved: true });
  expect(text.recurrent).toMatchObject({ keyHeads: 16, valueHeads: 32, keySize: 128, valueSize: 128, taps: 4 });
  expect(text.recurrent!.layers.slice(0, 5)).toEqual([true, true, true, false, true]);
  expect(vision).toMatchObject({ positionSide: 48, deepstack: [], patchSize: 16 });
});

const rope = { mrope_section: [11, 11, 10], rope_theta: 1e7 };

test.each([
  ['an interval in place of a list', { layer_types: undefined }],
  ['neither', { layer_types: null, full_attention_interval: undefined }],
  [
    'an old form of rotary settings',
    { rope_parameters: undefined, rope_scaling: { ...rope, type: 'default' }, partial_rotary_factor: 0.25 },
  ],
  ['the share of channels that the reference takes for granted', { rope_parameters: rope }],
])('%s says the same', (_, text) => {
  expect(parseModelConfig(published('2B', text)).text).toEqual(parseModelConfig(published('2B')).text);
});

test.each([
  ['no rotary base', { rope_parameters: { mrope_section: [11, 11, 10] } }, 'rope_theta is missing'],
  ['a layer of another kind', { layer_types: Array(24).fill('sliding_attention') }, 'sliding_attention'],
  ['a list of other layers', { layer_types: ['linear_attention'] }, 'lists 1 layers'],
  ['heads that are not served equally', { linear_num_value_heads: 24 }, '16 key heads'],
  ['channels that have no partner', { rope_parameters: { ...rope, partial_rotary_factor: 0.012 } }, 'rotate in pairs'],
  ['a convolution over one token', { linear_conv_kernel_dim: 1 }, 'linear_conv_kernel_dim is 1'],
])('%s is refused', (_, text, message) => {
  expect(() => parseModelConfig(published('2B', text))).toThrow(message);
});
