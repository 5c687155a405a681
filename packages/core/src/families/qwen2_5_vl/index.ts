/** Qwen2.5-VL (arXiv 2502.13923): RMSNorm, SwiGLU and windows in the tower, coordinates in pixels of the resized image. */
import { nn } from '@visurf/torch';

import { DecoderLayer, keptByLayer } from '../../model/decoder.ts';
import { shortOrReference } from '../../model/keys.ts';
import { readerOf } from '../../model/read-config.ts';
import { qwen2Text } from '../../model/text-config.ts';
import { keptByBlock, VisionTower } from '../../model/vision.ts';
import { clipProcessor, visionTokens } from '../processor.ts';
import type { Family } from '../../model/family.ts';
import { visionSchema } from './config.ts';
import { SwiGlu } from './mlp.ts';

const normEps = 1e-6; // fixed in the reference, whatever the config says

export const qwen25Vl: Family = {
  name: 'qwen2_5_vl',
  title: 'Qwen2.5-VL',
  readConfig: readerOf(visionSchema, qwen2Text, visionTokens),
  keys: shortOrReference,
  processor: clipProcessor,
  coordinates: 'resized',
  videos: {
    kind: 'clip',
    // In float32, as the reference.
    interval: (seconds, tokensPerSecond = 4) => Math.fround(tokensPerSecond * Math.fround(seconds)),
  },
  tokens: visionTokens,
  template: {},
  tower: (config) =>
    new VisionTower(config, {
      norm: (width) => new nn.RMSNorm(width, normEps),
      mlp: (each) => new SwiGlu(each),
    }),
  layer: (config) => new DecoderLayer(config),
  kept: { layer: keptByLayer, tower: keptByBlock },
};
