/**
 * ISIC 2018, task 1: one lesion in a picture. Official: the Jaccard index, 0 where it is below 0.65
 * (`thresholdedJaccard`). `boxAccuracy` is the published ViSurf column: the true box is that of the mask's outermost
 * pixels.
 */
import path from 'node:path';
import { percent, unparsable, type Benchmark, type Item, type LoadOptions } from './benchmark.ts';
import { namesIn, requirePlace } from './files.ts';
import { maskBox, type Mask } from '../masks/masks.ts';
import { readMask } from './pictures.ts';
import { markRegion, regionNotes, type RegionMarks } from './regions.ts';

const FOLDERS: Readonly<Record<string, string>> = { test: 'Test', validation: 'Validation', train: 'Training' };
const END = '_segmentation.png';
const LEAST = 0.65;

export interface IsicTruth {
  readonly mask: () => Promise<Mask>;
}

function load(folder: string, { split }: LoadOptions): Item<IsicTruth>[] {
  const [inputs, truths] = [`ISIC2018_Task1-2_${FOLDERS[split]}_Input`, `ISIC2018_Task1_${FOLDERS[split]}_GroundTruth`];
  const download = `${inputs}.zip and ${truths}.zip from the challenge's page, unpacked`;
  const source = { name: 'ISIC 2018', download };
  const [images, masks] = [requirePlace(folder, [inputs], source), requirePlace(folder, [truths], source)];
  return namesIn(images, '.jpg', source).map((name) => {
    const id = name.replace(/\.jpg$/, '');
    return {
      id,
      images: [path.join(images, name)],
      problem: 'skin lesion',
      truth: maskAt(requirePlace(masks, [`${id}${END}`], source)),
    };
  });
}

const maskAt = (file: string): IsicTruth => ({ mask: () => readMask(file) });

export const isic2018: Benchmark<IsicTruth, RegionMarks> = {
  name: 'isic2018',
  splits: Object.keys(FOLDERS),
  task: () => 'box',
  load: (folder, options) => Promise.resolve().then(() => load(folder, options)),
  mirrored: ({ mask }) => ({ mask }),
  async mark(said, { mask: read }, protocol) {
    const mask = await read();
    const box = maskBox(mask);
    const { width, height } = mask;
    return markRegion(said, { width, height, boxes: box ? [box] : [], mask: () => mask }, protocol);
  },
  summarise: (marks, protocol) => ({
    metrics: {
      boxAccuracy: percent(marks, ({ boxHit }) => boxHit),
      jaccard: percent(marks, ({ iou }) => iou),
      thresholdedJaccard: percent(marks, ({ iou }) => (iou >= LEAST ? iou : 0)),
      unparsable: unparsable(marks),
      ...(protocol === 'visurf' && { 'jaccard.strict': percent(marks, ({ strict }) => strict?.iou ?? 0) }),
    },
    notes: [
      ...regionNotes(marks, protocol),
      'The published wording of the question is not known: "skin lesion" is asked for.',
    ],
  }),
};
