/**
 * What families have whose images are cut into tiles: a SigLIP tower with learned positions sees each, a pixel shuffle and
 * one matrix lead to a Llama decoder, whose positions simply count. No trained form of boxes: thousandths.
 */
import { DecoderLayer, keptByLayer } from '../model/decoder.ts';
import type { Family } from '../model/family.ts';
import { readConfig } from '../model/tiles/config.ts';
import { keys } from '../model/tiles/keys.ts';
import { imageToken, tileProcessor, tileTokens } from '../model/tiles/processor.ts';
import { keptByBlock, TileTower } from '../model/tiles/tower.ts';

export const tiled: Omit<Family, 'name' | 'title'> = {
  readConfig,
  keys,
  processor: tileProcessor,
  coordinates: 'thousandths',
  videos: { kind: 'none' },
  positions: 'sequence',
  tokens: { image: 128257, vision: [imageToken, ...tileTokens] },
  template: {},
  contents: 'parts',
  tokenizer: 'file',
  tower: (config) => new TileTower(config),
  layer: (config) => new DecoderLayer(config),
  kept: { layer: keptByLayer, tower: keptByBlock },
};
