import { expect, test } from 'vitest';

import { parseModelConfig } from './config.ts';

/** Qwen2.5-VL-3B-Instruct, as it stands on the hub. */
const hub = {
  model_type: 'qwen2_5_vl',
  hidden_size: 2048,
  intermediate_size: 11008,
  num_attention_heads: 16,
  num_hidden_layers: 36,
  num_key_value_heads: 2,
  rms_norm_eps: 1e-6,
  rope_theta: 1000000.0,
  use_sliding_window: false,
  sliding_window: 32768,
  max_window_layers: 70,
  tie_word_embeddings: true,
  vision_config: {
    depth: 32,
    hidden_size: 1280,
    in_chans: 3,
    num_heads: 16,
    out_hidden_size: 2048,
    tokens_per_second: 2,
  },
  rope_scaling: { type: 'mrope', mrope_section: [16, 24, 24] },
  vocab_size: 151936,
};

test('the layout of the hub', () => {
  const { family, text, vision, imageTokenId, videoTokenId } = parseModelConfig(hub);
  expect(family.title).toBe('Qwen2.5-VL');
  expect(text).toEqual({
    layers: 36, hiddenSize: 2048, heads: 16, keyValueHeads: 2, headSize: 128, intermediateSize: 11008,
    vocabularySize: 151936, rmsNormEps: 1e-6, ropeTheta: 1e6, mropeSection: [16, 24, 24], mropeInterleaved: false, tiedHead: true,
    attentionBias: true, outputBias: false, queryKeyNorm: false,
  }); // prettier-ignore
  expect(vision).toEqual({
    depth: 32, hiddenSize: 1280, heads: 16, intermediateSize: 3420, isGated: true, outHiddenSize: 2048,
    inChannels: 3, patchSize: 14, temporalPatchSize: 2, spatialMergeSize: 2, windowSize: 112,
    fullAttentionBlocks: new Set([7, 15, 23, 31]), ropeTheta: 10000, tokensPerSecond: 2,
  }); // prettier-ignore
  expect([imageTokenId, videoTokenId]).toEqual([151655, 151656]);
});

test('nested text_config and rope_parameters say the same', () => {
  const { model_type, vision_config, tie_word_embeddings, rope_scaling, rope_theta, ...text } = hub;
  const nested = { ...text, rope_theta, rope_scaling: { ...rope_scaling, type: 'default', rope_type: 'default' } };
  const rope_parameters = { rope_type: 'default', rope_theta, mrope_section: rope_scaling.mrope_section };
  const expected = parseModelConfig(hub);
  const root = { model_type, vision_config };
  expect(parseModelConfig({ ...root, tie_word_embeddings, text_config: nested })).toEqual(expected);
  expect(parseModelConfig({ ...root, tie_word_embeddings, text_config: { ...text, rope_parameters } })).toEqual(
    expected,
  );
});

test.each([
  [true, undefined, true],
  [undefined, true, true],
  [false, true, true],
  [true, false, true],
  [false, false, false],
  [undefined, undefined, false],
])('a head tied at the top %s, in text_config %s: %s', (top, inner, tied) => {
  const { tie_word_embeddings: _, ...text } = hub;
  const value = {
    ...hub,
    tie_word_embeddings: top,
    text_config: { ...text, ...(inner !== undefined && { tie_word_embeddings: inner }) },
  };
  expect(parseModelConfig(value).text.tiedHead).toBe(tied);
});

test('Qwen2-VL names its widths differently', () => {
  const { family, vision } = parseModelConfig({
    ...hub,
    model_type: 'qwen2_vl',
    vision_config: { embed_dim: 1280, hidden_size: 2048, mlp_ratio: 4, num_heads: 16, in_chans: 3 },
  });
  expect(vision).toMatchObject({ hiddenSize: 1280, intermediateSize: 5120, isGated: false, outHiddenSize: 2048 });
  expect([family.title, vision.windowSize]).toEqual(['Qwen2-VL', Infinity]);
});

test('what would compute other numbers is refused', () => {
  const wrong = (change: object) => () => parseModelConfig({ ...hub, ...change });
  expect(wrong({ model_type: 'llama' })).toThrow('model_type: "llama" is not supported');
  expect(wrong({ rope_scaling: { type: 'longrope', factor: 4, mrope_section: [16, 24, 24] } })).toThrow(
    'type longrope',
  );
  expect(wrong({ rope_scaling: { type: 'mrope', mrope_section: [16, 24, 16] } })).toThrow('half of the head size 128');
  expect(wrong({ head_dim: 64 })).toThrow('head_dim is 64');
  expect(wrong({ vision_config: { ...hub.vision_config, window_size: 27 } })).toThrow('windows of 27 pixels');
  expect(wrong({ num_key_value_heads: 3 })).toThrow('16 attention heads');
  expect(wrong({ hidden_size: 4096, num_attention_heads: 32 })).toThrow('2048 channels into a decoder of 4096');
  expect(wrong({ hidden_act: 'gelu' })).toThrow('hidden_act');
});

test('sections of rotary frequencies may be empty, or more than three', () => {
  const section = (mrope_section: number[]) =>
    parseModelConfig({ ...hub, rope_scaling: { type: 'mrope', mrope_section } }).text.mropeSection;
  expect(section([0, 32, 32])).toEqual([0, 32, 32]);
  expect(section([8, 12, 12, 8, 12, 12])).toEqual([8, 12, 12, 8, 12, 12]);
});

test('rotary embeddings of an extended reach', () => {
  const scaled = (rope_scaling: object) =>
    parseModelConfig({ ...hub, rope_scaling: { mrope_section: [16, 24, 24], ...rope_scaling } }).text.ropeScaling;
  expect(scaled({ type: 'linear', factor: 2 })).toEqual({ factor: 2, attentionFactor: 1 });
  // As Qwen2.5-VL's model card has it.
  const yarn = scaled({ type: 'yarn', factor: 4, original_max_position_embeddings: 32768 });
  expect(yarn).toMatchObject({ factor: 4, ramp: [23, 40] });
  expect(yarn?.attentionFactor).toBeCloseTo(0.1 * Math.log(4) + 1, 14);
  expect(scaled({ type: 'dynamic', factor: 2 })).toBeUndefined();
});

test.each([
  [{ use_sliding_window: true, sliding_window: 64, max_window_layers: 28 }, 64],
  [{ use_sliding_window: true, sliding_window: 64, max_window_layers: 36 }, undefined],
  [{ use_sliding_window: true, sliding_window: null, max_window_layers: 0 }, undefined],
  [{ use_sliding_window: false, sliding_window: 64, max_window_layers: 0 }, undefined],
  [{ use_sliding_window: true, sliding_window: 64, max_window_layers: 0, layer_types: ['full_attention'] }, undefined],
])('%j slides over %s', (change, window) => {
  expect(parseModelConfig({ ...hub, ...change }).text.reach?.tokens).toBe(window);
});

test('the vision tower has its own rotary base', () => {
  const theta = (change: object) =>
    parseModelConfig({ ...hub, vision_config: { ...hub.vision_config, ...change } }).vision.ropeTheta;
  expect(theta({})).toBe(10_000);
  expect(theta({ rope_theta: 500 })).toBe(500);
  expect(theta({ rope_parameters: { rope_type: 'axial', rope_theta: 300 } })).toBe(300);
});
