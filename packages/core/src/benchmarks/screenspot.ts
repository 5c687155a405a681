/** ScreenSpot and ScreenSpot-Pro: a click into the control that an instruction names. */
import path from 'node:path';
import { z } from 'zod';
import type { Box } from '../types.ts';
import { byGroup, percent, unparsable, type Benchmark, type Item, type Summary } from './benchmark.ts';
import { markClick, type ClickMarks } from './clicks.ts';
import { inside, namesIn, readAnnotations, requirePlace } from './files.ts';
import { publishedQuestion } from './referring.ts';

const box = z.tuple([z.number(), z.number(), z.number(), z.number()]);
const spotSchema = z.array(
  z.looseObject({
    img_filename: z.string(),
    instruction: z.string(),
    bbox: box,
    data_type: z.string(),
  }),
);
const proSchema = z.array(
  z.looseObject({
    id: z.string().optional(),
    img_filename: z.string(),
    instruction: z.string(),
    bbox: box,
    ui_type: z.string(),
    group: z.string().optional(),
    platform: z.string().optional(),
    application: z.string().optional(),
  }),
);

export interface SpotTruth {
  readonly box: Box;
  /** Such as `web.text`. */
  readonly group: string;
}

interface SpotMarks extends ClickMarks {
  readonly group: string;
}

const PLATFORMS = ['mobile', 'desktop', 'web'];

/** `accuracy.GROUP`, `accuracy.GROUP.TYPE`. */
const grouped = (marks: readonly SpotMarks[]): Record<string, number | null> => ({
  ...byGroup(marks, ({ group }) => group.split('.')[0]!, share),
  ...byGroup(marks, ({ group }) => group, share),
});

const share = (own: readonly SpotMarks[], key: string): Record<string, number | null> => ({
  [`accuracy.${key}`]: percent(own, ({ hit }) => hit),
});

const mark: Benchmark<SpotTruth, SpotMarks>['mark'] = (said, { box, group }, protocol) => ({
  ...markClick(said, box, protocol),
  group,
});

const anyPoint = 'Any point of an answer may hit; the official rule takes the first.';

export const screenspot: Benchmark<SpotTruth, SpotMarks> = {
  name: 'screenspot',
  splits: ['all', ...PLATFORMS],
  task: () => 'click',
  load: (folder, { split, protocol }) =>
    Promise.resolve().then(() => {
      const source = {
        name: 'ScreenSpot',
        download: "screenspot_imgs.zip and the three JSON files from SeeClick's page",
      };
      const images = requirePlace(folder, ['screenspot_imgs'], source);
      return PLATFORMS.filter((platform) => split === 'all' || split === platform).flatMap((platform) => {
        const file = requirePlace(folder, [`screenspot_${platform}.json`], source);
        return readAnnotations(file, spotSchema).map(
          ({ img_filename: name, instruction, bbox: [x, y, w, h], data_type: type }, i) => ({
            id: `${platform}-${i}`,
            images: [inside(images, name, file)],
            problem: protocol === 'visurf' ? publishedQuestion(instruction) : instruction,
            truth: { box: [x, y, x + w, y + h] as const, group: `${platform}.${type}` },
          }),
        );
      });
    }),
  mark,
  summarise(marks, protocol): Summary {
    const pairs = Object.values(byGroup(marks, ({ group }) => group, share));
    const macro = pairs.length === 0 ? null : pairs.reduce((sum: number, each) => sum + each!, 0) / pairs.length;
    const micro = percent(marks, ({ hit }) => hit);
    return {
      metrics: {
        ...{ accuracy: protocol === 'official' ? macro : micro, 'accuracy.micro': micro, 'accuracy.macro': macro },
        ...grouped(marks),
        unparsable: unparsable(marks),
      },
      notes: [
        protocol === 'official'
          ? 'accuracy is the mean over text and icon of every platform, as published; accuracy.micro is over all questions.'
          : `The published ViSurf code has no ScreenSpot: its rule for OmniACT is used. ${anyPoint}`,
      ],
    };
  },
};

export const screenspotPro: Benchmark<SpotTruth, SpotMarks> = {
  name: 'screenspot-pro',
  splits: ['test'],
  task: () => 'click',
  load: (folder, { protocol }) =>
    Promise.resolve().then(() => {
      const source = {
        name: 'ScreenSpot-Pro',
        download: 'annotations/ and images/ of likaixin/ScreenSpot-Pro from the Hugging Face hub',
      };
      const [annotations, images] = [
        requirePlace(folder, ['annotations'], source),
        requirePlace(folder, ['images'], source),
      ];
      return namesIn(annotations, '.json', source).flatMap((name) => {
        const file = path.join(annotations, name);
        return readAnnotations(file, proSchema).map(
          ({ id, img_filename: picture, instruction, bbox, ui_type: type, group }, i): Item<SpotTruth> => ({
            id: id ?? `${name.replace(/\.json$/, '')}-${i}`,
            images: [inside(images, picture, file)],
            problem: protocol === 'visurf' ? publishedQuestion(instruction) : instruction,
            truth: { box: bbox, group: `${group ?? 'all'}.${type}` },
          }),
        );
      });
    }),
  mark,
  summarise: (marks, protocol) => ({
    metrics: {
      accuracy: percent(marks, ({ hit }) => hit),
      ...grouped(marks),
      ...byGroup(marks, ({ group }) => group.split('.').at(-1)!, share),
      unparsable: unparsable(marks),
    },
    notes:
      protocol === 'visurf'
        ? [`The published ViSurf code has no ScreenSpot-Pro: its rule for OmniACT is used. ${anyPoint}`]
        : [],
  }),
};
