/**
 * ReasonSeg (LISA): questions that need reasoning, polygons as truth. Official: regions to be ignored leave both sides,
 * and the sums carry LISA's small constants. visurf: as the mirror that the published figures were computed on has it,
 * regions to be ignored are part of the target, and plain means.
 */
import path from 'node:path';
import { z } from 'zod';
import type { Point } from '../types.ts';
import {
  byGroup,
  percent,
  ratio,
  unparsable,
  type Benchmark,
  type Item,
  type LoadOptions,
  type Protocol,
} from './benchmark.ts';
import { checked, namesIn, parseJson, readBytes, requirePlace } from './files.ts';
import { emptyMask, maskBox, type Mask } from '../masks/masks.ts';
import { paintPolygon } from '../masks/polygons.ts';
import { publishedQuestion } from './referring.ts';
import { sizeOf } from './pictures.ts';
import { markRegion, mirroredRegion, regionNotes, type Region, type RegionMarks } from './regions.ts';

const point = z.tuple([z.number(), z.number()]);
const schema = z.looseObject({
  text: z.union([z.string(), z.array(z.string()).min(1)]),
  is_sentence: z.boolean().optional(),
  shapes: z.array(z.looseObject({ label: z.string(), points: z.array(point) })),
});
type Shape = z.output<typeof schema>['shapes'][number];

const TARGET = 1;
const IGNORED = 2;

/** The largest polygon is painted first; "flag" is none, and what is not to be ignored is a target. */
export function reasonsegMask(
  shapes: readonly { label: string; points: readonly Point[] }[],
  width: number,
  height: number,
): Mask {
  const mask = emptyMask(width, height);
  const sized = shapes
    .filter(({ label }) => label !== 'flag')
    .map((shape) => {
      const own = emptyMask(width, height);
      paintPolygon(own, shape.points, 1);
      return { ...shape, area: own.data.reduce((sum, value) => sum + value, 0) };
    });
  for (const { label, points } of sized.reverse().sort((a, b) => b.area - a.area)) {
    paintPolygon(mask, points, label.toLowerCase().includes('ignore') ? IGNORED : TARGET);
  }
  return mask;
}

export interface ReasonSegTruth {
  readonly region: Region;
  readonly isLong: boolean | undefined;
}

interface ReasonSegMarks extends RegionMarks {
  readonly query: 'long' | 'short' | undefined;
}

const decode = (bytes: Buffer): string => {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch {
    return new TextDecoder('windows-1252').decode(bytes);
  }
};

async function load(folder: string, { split, protocol }: LoadOptions): Promise<Item<ReasonSegTruth>[]> {
  const source = { name: 'ReasonSeg', download: `${split}.zip of ReasonSeg (from LISA's page), unpacked` };
  const directory = requirePlace(folder, [split, `ReasonSeg/${split}`], source);
  const items: Item<ReasonSegTruth>[] = [];
  for (const name of namesIn(directory, '.json', source)) {
    const file = path.join(directory, name);
    const { text, shapes, is_sentence: isLong } = checked(parseJson(decode(readBytes(file)), file), schema, file);
    const picture = requirePlace(directory, [name.replace(/\.json$/, '.jpg')], source);
    const { width, height } = await sizeOf(picture);
    const questions = split === 'train' ? [text].flat() : [text].flat().slice(0, 1);
    questions.forEach((question, i) =>
      items.push({
        id: name.replace(/\.json$/, '') + (i > 0 ? `-${i}` : ''),
        images: [picture],
        problem: protocol === 'visurf' ? publishedQuestion(question) : question,
        truth: () => Promise.resolve({ region: regionOf(shapes, width, height, protocol), isLong }),
      }),
    );
  }
  return items;
}

function regionOf(shapes: readonly Shape[], width: number, height: number, protocol: Protocol): Region {
  const mask = reasonsegMask(shapes, width, height);
  const box = maskBox(mask, (value) => value === TARGET || (protocol === 'visurf' && value === IGNORED));
  return {
    ...{ width, height, boxes: box ? [box] : [], mask: () => mask },
    ...(protocol === 'official' && { ignored: IGNORED }),
  };
}

/**
 * LISA's constants: each IoU is I / (U + 1e-5), 1 where U is 0; their sum is divided by n + 1e-5, that of I by U +
 * 1e-10.
 */
const SMALL = { iou: 1e-5, count: 1e-5, sum: 1e-10 };

type Measured = Pick<RegionMarks, 'iou' | 'intersection' | 'union'>;

/** gIoU and cIoU in percent; null over nothing. */
export function reasonsegIou(
  marks: readonly Measured[],
  protocol: Protocol,
): { gIoU: number | null; cIoU: number | null } {
  const [intersection, union] = (['intersection', 'union'] as const).map((key) =>
    marks.reduce((sum, each) => sum + each[key], 0),
  );
  if (marks.length === 0) return { gIoU: null, cIoU: null };
  if (protocol === 'visurf') return { gIoU: percent(marks, ({ iou }) => iou), cIoU: ratio(intersection!, union!) };
  const ious = marks.map((each) => (each.union === 0 ? 1 : each.intersection / (each.union + SMALL.iou)));
  return {
    gIoU: (100 * ious.reduce((sum, iou) => sum + iou, 0)) / (marks.length + SMALL.count),
    cIoU: (100 * intersection!) / (union! + SMALL.sum),
  };
}

export const reasonseg: Benchmark<ReasonSegTruth, ReasonSegMarks> = {
  name: 'reasonseg',
  splits: ['val', 'test', 'train'],
  task: () => 'grounding',
  load,
  mirrored: (row) => async () => ({ region: await mirroredRegion(row), isLong: undefined }),
  mark(said, { region, isLong }, protocol) {
    const marks = markRegion(said, region, protocol);
    const query = isLong === undefined ? undefined : isLong ? 'long' : 'short';
    return { ...marks, query };
  },
  summarise(marks, protocol) {
    return {
      metrics: {
        ...reasonsegIou(marks, protocol),
        ...byGroup(
          marks,
          ({ query }) => query,
          (own, key) => {
            const { gIoU, cIoU } = reasonsegIou(own, protocol);
            return { [`gIoU.${key}`]: gIoU, [`cIoU.${key}`]: cIoU };
          },
        ),
        boxAccuracy: percent(marks, ({ boxHit }) => boxHit),
        unparsable: unparsable(marks),
        ...(protocol === 'visurf' && { 'gIoU.strict': percent(marks, ({ strict }) => strict?.iou ?? 0) }),
      },
      notes: [
        ...regionNotes(marks, protocol),
        ...(protocol === 'visurf'
          ? [
              'Regions to be ignored count as target, as in the mirror that published figures were computed on: not comparable with LISA.',
            ]
          : []),
      ],
    };
  },
};
