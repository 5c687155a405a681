import { expect, test } from 'vitest';
import { parseModelConfig } from '../packages/core/src/families/config.ts';
import { decodeBytes, decodeOperations, forwardOperations, visionOperations, type Work } from './operations.ts';

const config = parseModelConfig({
  model_type: 'qwen2_5_vl',
  tie_word_embeddings: true,
  hidden_size: 12,
  num_hidden_layers: 3,
  num_attention_heads: 2,
  num_key_value_heads: 1,
  intermediate_size: 10,
  vocab_size: 50,
  rope_scaling: { type: 'mrope', mrope_section: [1, 1, 1] },
  vision_config: {
    depth: 2,
    hidden_size: 8,
    num_heads: 2,
    intermediate_size: 6,
    out_hidden_size: 12,
    patch_size: 2,
    window_size: 8,
    fullatt_block_indexes: [1],
    in_channels: 1,
    temporal_patch_size: 1,
  },
});
const work: Work = { prompts: 2, promptTokens: 5, grid: [1, 4, 8], responses: 2, responseTokens: 3 };

test('an image: products of 32 patches, two windows of 16, one frame of 32', () => {
  const blocks = 2 * (4 * 64 + 3 * 8 * 6);
  const embedding = 4 * 8;
  const merger = 32 * 32 + 32 * 12;
  const attention = 4 * 8 * (32 * 32 + 2 * 16 * 16);
  expect(visionOperations(config, [1, 4, 8])).toBe(2 * 32 * (blocks + embedding) + 2 * 8 * merger + attention);
});

test('scoring: every prompt once, two read tokens and three predictions per response', () => {
  const weights = 3 * (144 + 144 + 72 + 72 + 3 * 120);
  const pairs = 1 + 2 + 3 + 4 + 5 + 2 * (6 + 7);
  const text = 2 * 9 * weights + 4 * 3 * 12 * pairs + 2 * 6 * 600;
  expect(forwardOperations(config, work)).toBe(2 * (124_928 + text));
});

test('decoding: four rows against all weights, and the keys and values of two prompts and four responses', () => {
  expect(decodeOperations(config, work)).toBe(4 * (2 * (2376 + 600) + 4 * 3 * 12 * 6.5));
  expect(decodeBytes(config, work, 2)).toBe(2 * (2376 + 600) + 4 * 2 * 3 * 6 * (2 * 5 + 4 * 1.5));
});
