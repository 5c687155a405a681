/**
 * Real-IAD: does a picture of a part show a defect? Official: area under the curve per category, averaged; the score is
 * the probability of "yes" where predictions have one, else the answer itself. visurf: the answer points at defects,
 * the score is whether it has any, and the area is over all pictures together.
 */
import path from 'node:path';
import { z } from 'zod';
import { rocAuc } from '../tasks/anomaly/auc.ts';
import { normalised } from '../tasks/text.ts';
import { readPointing, spoken } from './answers.ts';
import {
  byGroup,
  percent,
  unparsable,
  type Benchmark,
  type Item,
  type LoadOptions,
  type Marks,
  type Said,
} from './benchmark.ts';
import { inside, namesIn, readAnnotations, requirePlace } from './files.ts';
import type { Mask } from '../masks/masks.ts';
import { readMask } from './pictures.ts';

const sample = z.looseObject({
  category: z.string(),
  anomaly_class: z.string(),
  image_path: z.string(),
  mask_path: z.string().nullish(),
});
const schema = z.looseObject({
  meta: z.looseObject({ prefix: z.string(), normal_class: z.string().default('OK') }),
  train: z.array(sample),
  test: z.array(sample),
});

export interface IadTruth {
  readonly category: string;
  /** A defect is to be seen in this view. */
  readonly positive: boolean;
  /** Whether the mask of the defect has any pixel. */
  readonly isMarked: () => Promise<boolean>;
}

interface IadMarks extends Marks {
  readonly category: string;
  readonly positive: boolean;
  /** Larger where a defect is likelier. */
  readonly score: number;
  readonly strictScore: number;
}

const SOURCE = {
  name: 'Real-IAD',
  download: 'realiad_1024/ and realiad_jsons/ (access is granted on request to its authors)',
};

function load(folder: string, { split, protocol }: LoadOptions): Item<IadTruth>[] {
  const jsons = requirePlace(folder, ['realiad_jsons', 'realiad_jsons_sv'], SOURCE);
  const images = requirePlace(folder, ['realiad_1024', 'realiad_raw', 'realiad_512', 'realiad_256'], SOURCE);
  return namesIn(jsons, '.json', SOURCE).flatMap((name) => {
    const file = path.join(jsons, name);
    const { meta, ...splits } = readAnnotations(file, schema);
    return splits[split === 'train' ? 'train' : 'test'].map((each): Item<IadTruth> => {
      const { category, anomaly_class: kind, image_path: image, mask_path: mask } = each;
      const place = (own: string): string => inside(images, path.join(meta.prefix, own), file);
      const part = category.replaceAll('_', ' ');
      return {
        id: `${category}/${image}`,
        images: [place(image)],
        problem: protocol === 'visurf' ? `the defect of the ${part}` : part,
        truth: {
          category,
          positive: split !== 'train' && typeof mask === 'string' && kind !== meta.normal_class,
          isMarked: async () => typeof mask === 'string' && isNotEmpty(await readMask(place(mask))),
        },
      };
    });
  });
}

/** What an answer says of a defect: a word, or whether it points at anything; undefined where it says neither. */
function verdict({ text, frame, mask }: Said): boolean | undefined {
  const word = normalised(spoken(text));
  if (word === 'yes' || word === 'no') return word === 'yes';
  if (mask) return mask.data.includes(1);
  const { parsed, boxes, points } = readPointing(text, frame, 'official');
  return parsed ? boxes.length + points.length > 0 : undefined;
}

const isNotEmpty = ({ data }: Mask): boolean => data.includes(1);

const UNDECIDED = 0.5;

export const realiad: Benchmark<IadTruth, IadMarks> = {
  name: 'realiad',
  splits: ['test', 'train'],
  task: (protocol) => (protocol === 'visurf' ? 'grounding' : 'anomaly'),
  isLikelihood: (protocol) => protocol === 'official',
  load: (folder, options) => Promise.resolve().then(() => load(folder, options)),
  mirrored:
    ({ mask }) =>
    async () => {
      const positive = isNotEmpty(await mask());
      return { category: 'all', positive, isMarked: () => Promise.resolve(positive) };
    },
  async mark(said, { category, positive, isMarked }, protocol) {
    const found = verdict(said);
    const strictScore = said.probability ?? (found === undefined ? UNDECIDED : Number(found));
    const parsed = found !== undefined || said.probability !== undefined;
    if (protocol === 'official') return { category, positive, score: strictScore, strictScore, parsed };
    return { category, positive: await isMarked(), score: Number(found ?? false), strictScore, parsed };
  },
  summarise(marks, protocol) {
    const area = (own: readonly IadMarks[]): number | null => inPercent(rocAuc(own));
    const byCategory = byGroup(
      marks,
      ({ category }) => category,
      (own, key) => ({ [`rocAuc.${key}`]: area(own) }),
    );
    const areas = Object.values(byCategory).filter((each) => each !== null);
    const together = area(marks);
    const mean = areas.length === 0 ? null : areas.reduce((sum, each) => sum + each, 0) / areas.length;
    return {
      metrics: {
        ...{ rocAuc: protocol === 'official' ? mean : together, ...byCategory, 'rocAuc.together': together },
        accuracy: percent(marks, ({ positive, score }) => score > UNDECIDED === positive && score !== UNDECIDED),
        unparsable: unparsable(marks),
        ...(protocol === 'visurf' && {
          'rocAuc.strict': inPercent(
            rocAuc(marks.map(({ positive, strictScore }) => ({ positive, score: strictScore }))),
          ),
        }),
      },
      notes:
        protocol === 'visurf'
          ? [
              'The area is over all pictures together, as published; an answer that cannot be read says that nothing is there ' +
                '("strict": undecided). How the published subset was chosen and asked is not known.',
            ]
          : [
              'rocAuc is the mean over categories. Without "probability" the score is the answer itself, 1 or 0, and 0.5 where it is ' +
                'neither: the official protocol has continuous scores.',
            ],
    };
  },
};

const inPercent = (area: number | undefined): number | null => (area === undefined ? null : 100 * area);
