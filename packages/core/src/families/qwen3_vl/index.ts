/** Qwen3-VL (arXiv 2511.21631): learned positions and DeepStack in the tower, normed queries and keys, interleaved M-RoPE. */
import { DecoderLayer, keptByLayer } from '../../model/decoder.ts';
import { DeepVisionTower } from '../../model/deep-vision.ts';
import type { Family } from '../../model/family.ts';
import { referenceOrShort } from '../../model/keys.ts';
import { readerOf } from '../../model/read-config.ts';
import { keptByBlock } from '../../model/vision.ts';
import { halvesProcessor, visionTokens } from '../processor.ts';
import { textRules, visionSchema } from './config.ts';

export const qwen3Vl: Family = {
  name: 'qwen3_vl',
  title: 'Qwen3-VL',
  readConfig: readerOf(visionSchema, textRules, visionTokens),
  keys: referenceOrShort,
  processor: halvesProcessor,
  coordinates: 'thousandths',
  videos: { kind: 'timed', start: '<|vision_start|>', end: '<|vision_end|>' },
  tokens: visionTokens,
  template: {},
  tower: (config) => new DeepVisionTower(config),
  layer: (config) => new DecoderLayer(config),
  kept: { layer: keptByLayer, tower: keptByBlock },
};
