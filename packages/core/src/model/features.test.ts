import { live, scope, tensor } from '@visurf/torch';
import { expect, test } from 'vitest';

import { tinyModel } from '../testing/oracle.ts';
import { loadModel } from '../families/load.ts';
import type { Grid } from '../types.ts';
import { FeatureCache, rememberedFeatures, type Picture } from './features.ts';
import type { Flow } from './stage.ts';

const model = loadModel(tinyModel);
const { config } = model;
model.dispose();

const UNIT = config.vision.spatialMergeSize ** 2;
/** One feature, which is the picture's number. */
const picture = (number: number, key: string | undefined): Picture => ({
  grid: [1, 1, UNIT],
  pixels: Float32Array.of(number),
  key,
});
const encode = (pixels: readonly Float32Array[], _: readonly Grid[]): Flow => [
  tensor(
    pixels.map(([number]) => number!),
    { shape: [pixels.length, 1] },
  ),
];

test.each([true, false])(
  'pictures that come again have their features, however little is remembered: %j',
  (together) => {
    const pictures = [picture(1, 'a'), picture(2, 'b'), picture(1, 'a'), picture(3, undefined), picture(2, 'b')];
    const before = live();
    for (const budget of [0, 4, 8, 100]) {
      const cache = new FeatureCache(budget);
      for (let pass = 0; pass < 2; pass++) {
        const found = scope(() =>
          rememberedFeatures(pictures, cache, config, encode, together).map(([x]) => x.toArray()),
        );
        expect(found.flat(), `budget ${budget}`).toEqual([1, 2, 1, 3, 2]);
        expect(cache.bytes).toBeLessThanOrEqual(budget);
      }
      cache.clear();
    }
    expect(live()).toEqual(before);
  },
);
