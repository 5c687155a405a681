/**
 * Qwen3.5 (also Qwen3.6 and Qwen3.8, dense): most layers are Gated DeltaNets, every fourth is gated attention with rotary
 * positions on a quarter of a head; norms of (1 + w); the tower of Qwen3's generation without DeepStack.
 */
import { DeepVisionTower } from '../../model/deep-vision.ts';
import type { Family } from '../../model/family.ts';
import { referenceOrShort } from '../../model/keys.ts';
import { readerOf } from '../../model/read-config.ts';
import { keptByBlock } from '../../model/vision.ts';
import { halvesProcessor, visionTokens } from '../processor.ts';
import { textRules, visionSchema } from './config.ts';
import { FullLayer, LinearLayer } from './layer.ts';
import { keptByAttention, keptByState } from './kept.ts';
import { OffsetNorm } from './norm.ts';

const tokens = { image: 248056, video: 248057, vision: visionTokens.vision } as const satisfies Family['tokens'];

export const qwen35: Family = {
  name: 'qwen3_5',
  title: 'Qwen3.5',
  readConfig: readerOf(visionSchema, textRules, tokens),
  keys: referenceOrShort,
  ignored: { names: /^mtp\./, are: 'layers that guess one token further (mtp.*)' },
  precise: /\.linear_attn\.(A_log|norm\.weight)$/,
  processor: halvesProcessor,
  coordinates: 'thousandths',
  videos: { kind: 'timed', start: '<|vision_start|>', end: '<|vision_end|>' },
  tokens,
  template: {},
  tower: (config) => new DeepVisionTower(config),
  layer: (config, index) => (config.recurrent?.layers[index] ? new LinearLayer(config) : new FullLayer(config)),
  norm: (width, eps) => new OffsetNorm(width, eps),
  kept: { layer: keptByAttention, recurrent: keptByState, tower: keptByBlock },
};
