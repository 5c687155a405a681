import { nn, scope } from '@visurf/torch';
import { expect, test } from 'vitest';

import { VisionLanguageModel } from '../../model/vlm.ts';
import { parseModelConfig } from '../config.ts';

/** SmolVLM2-256M's, as far as its file says anything: its tower is what the class knows. */
const published = {
  model_type: 'smolvlm',
  image_token_id: 49190,
  pad_token_id: 128002,
  scale_factor: 4,
  vision_config: { hidden_size: 768, image_size: 512, patch_size: 16, num_attention_heads: 12 },
  text_config: {
    ...{ model_type: 'llama', hidden_size: 576, intermediate_size: 1536, num_hidden_layers: 30, vocab_size: 49280 },
    ...{ num_attention_heads: 9, num_key_value_heads: 3, head_dim: 64, rms_norm_eps: 1e-5, rope_theta: 100000 },
    ...{ rope_scaling: null, rope_interleaved: false, qk_layer_norms: false, is_llama_config: true },
  },
};

test('the 256M has the parameters of its file of 1.03 GB', () => {
  const { vision, text, imageTokenId, videoTokenId } = parseModelConfig(published);
  expect({ vision, text, imageTokenId, videoTokenId }).toMatchObject({
    vision: { depth: 12, intermediateSize: 3072, positionSide: 32, normEps: 1e-6, spatialMergeSize: 4 },
    text: { mropeSection: [32], ropeTheta: 1e5, attentionBias: false, tiedHead: false },
    imageTokenId: 49190,
    videoTokenId: undefined,
  });
  const parameters = scope(() => {
    const model = nn.outline(() => new VisionLanguageModel(parseModelConfig(published)));
    return model.parameters().reduce((sum, { shape }) => sum + shape.reduce((a, b) => a * b, 1), 0);
  });
  expect(4 * parameters).toBe(1_025_939_712);
});

test('what a file leaves out is what the classes have: other norms where there is no decoder at all', () => {
  const { text_config: _, ...rest } = published;
  expect(parseModelConfig(rest).text).toMatchObject({
    layers: 32,
    hiddenSize: 4096,
    keyValueHeads: 32,
    rmsNormEps: 1e-5,
  });
  const { rms_norm_eps: __, rope_theta: ___, ...text_config } = published.text_config;
  expect(parseModelConfig({ ...rest, text_config }).text).toMatchObject({ rmsNormEps: 1e-6, ropeTheta: 10_000 });
});

test.each([
  [{ vision_config: { ...published.vision_config, hidden_act: 'gelu' } }, 'hidden_act'],
  [{ vision_config: { ...published.vision_config, num_attention_heads: 5 } }, '5 heads of the vision tower'],
  [{ vision_config: { ...published.vision_config, image_size: [512, 256] } }, 'only squares are known'],
  [{ text_config: { ...published.text_config, model_type: 'mistral' } }, 'model_type'],
  [{ text_config: { ...published.text_config, mlp_bias: true } }, 'mlp_bias'],
  [{ text_config: { ...published.text_config, rope_scaling: { rope_type: 'longrope', factor: 8 } } }, 'type longrope'],
])('%j: refused', (change, message) => {
  expect(() => parseModelConfig({ ...published, ...change })).toThrow(message);
});
