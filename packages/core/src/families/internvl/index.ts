/**
 * InternVL3 and InternVL3.5 in the layout of transformers (arXiv 2504.10479, 2508.18265): an InternViT sees tiles of an
 * image, a pixel shuffle and two matrices lead to Qwen's decoder, whose positions simply count.
 */
import { DecoderLayer, keptByLayer } from '../../model/decoder.ts';
import type { Family } from '../../model/family.ts';
import { readConfig } from './config.ts';
import { keys } from './keys.ts';
import { imageToken, tileProcessor, visionTokens } from './processor.ts';
import { InternVit, keptByBlock } from './tower.ts';

export const internVl: Family = {
  name: 'internvl',
  title: 'InternVL',
  readConfig,
  keys,
  processor: tileProcessor,
  coordinates: 'thousandths',
  videos: { kind: 'none' },
  positions: 'sequence',
  tokens: { image: 151667, vision: [imageToken, ...visionTokens] },
  template: {},
  tower: (config) => new InternVit(config),
  layer: (config) => new DecoderLayer(config),
  kept: { layer: keptByLayer, tower: keptByBlock },
};
