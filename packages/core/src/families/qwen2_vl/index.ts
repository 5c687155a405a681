/** Qwen2-VL (arXiv 2409.12191): LayerNorm and a two-layer MLP in the tower, no windows, coordinates in thousandths. */
import { nn } from '@visurf/torch';

import { DecoderLayer, keptByLayer } from '../../model/decoder.ts';
import { shortOrReference } from '../../model/keys.ts';
import { readerOf } from '../../model/read-config.ts';
import { qwen2Text } from '../../model/text-config.ts';
import { keptByBlock, VisionTower } from '../../model/vision.ts';
import { clipProcessor, visionTokens } from '../processor.ts';
import type { Family } from '../../model/family.ts';
import { visionSchema } from './config.ts';
import { QuickGeluMlp } from './mlp.ts';

const normEps = 1e-6; // fixed in the reference, whatever the config says

export const qwen2Vl: Family = {
  name: 'qwen2_vl',
  title: 'Qwen2-VL',
  readConfig: readerOf(visionSchema, qwen2Text, visionTokens),
  keys: shortOrReference,
  processor: clipProcessor,
  coordinates: 'thousandths',
  videos: { kind: 'clip', interval: () => 1 },
  tokens: visionTokens,
  template: {},
  tower: (config) =>
    new VisionTower(config, {
      norm: (width) => new nn.LayerNorm(width, normEps),
      mlp: (each) => new QuickGeluMlp(each),
    }),
  layer: (config) => new DecoderLayer(config),
  kept: { layer: keptByLayer, tower: keptByBlock },
};
