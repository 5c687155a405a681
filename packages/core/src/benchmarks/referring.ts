/**
 * Referring expressions on COCO's train2014: gRefCOCO (none, one or many objects; metrics of ReLA) and RefCOCO,
 * RefCOCO+, RefCOCOg (always one). A sample is a sentence.
 */
import { existsSync } from 'node:fs';
import path from 'node:path';
import { z } from 'zod';
import { UserError } from '../errors.ts';
import type { Box } from '../types.ts';
import type { Benchmark, Item, LoadOptions, Protocol, RowForm, Summary } from './benchmark.ts';
import { checked, readAnnotations, requirePlace } from './files.ts';
import { sizeOf } from './pictures.ts';
import { addRuns, decodeCounts, emptyMask, type Mask } from '../masks/masks.ts';
import { addCocoPolygon } from '../masks/polygons.ts';
import { markRegion, mirroredRegion, regionMetrics, regionNotes, type Region, type RegionMarks } from './regions.ts';

const ids = z.union([z.number(), z.array(z.number()).min(1)]);
const refsSchema = z.array(
  z.looseObject({
    ref_id: z.number(),
    image_id: z.number(),
    split: z.string(),
    ann_id: ids,
    sentences: z.array(
      z.looseObject({ sent: z.string().optional(), raw: z.string().optional(), sent_id: z.number().optional() }),
    ),
  }),
);
type Ref = z.output<typeof refsSchema>[number];

const annotationSchema = z.looseObject({
  id: z.number(),
  bbox: z.tuple([z.number(), z.number(), z.number(), z.number()]),
  iscrowd: z.number().optional(),
  segmentation: z.unknown(),
});
export type CocoAnnotation = z.output<typeof annotationSchema>;
const instancesSchema = z.looseObject({
  images: z.array(z.looseObject({ id: z.number(), file_name: z.string(), width: z.number(), height: z.number() })),
  annotations: z.array(annotationSchema),
});

/** Coordinates far beyond any picture would be walked along, step by step. */
const coordinate = z.number().min(-1e5).max(1e5);
const runs = z.looseObject({ counts: z.union([z.string(), z.array(z.number())]) });
const shapes = z.union([z.array(z.array(coordinate)), runs]);

/** Adds what an annotation covers: polygons, of which those that are none are left out, or runs. */
function addAnnotation(mask: Mask, { id, segmentation }: CocoAnnotation): void {
  const { success, data, error } = shapes.safeParse(segmentation);
  try {
    if (!success)
      throw new UserError(`its segmentation is neither polygons nor run lengths (${error.issues[0]!.message})`);
    if (Array.isArray(data)) data.filter(isPolygon).forEach((polygon) => addCocoPolygon(mask, polygon));
    else addRuns(mask, typeof data.counts === 'string' ? decodeCounts(data.counts) : data.counts);
  } catch (cause) {
    throw cause instanceof UserError ? new UserError(`annotation ${id}: ${cause.reason}`) : cause;
  }
}

const isPolygon = (numbers: readonly number[]): boolean => numbers.length >= 6 && numbers.length % 2 === 0;

/** What annotations of a picture cover together; crowds do not count. */
export function regionOf(annotations: readonly CocoAnnotation[], width: number, height: number): Region {
  const own = annotations.filter(({ iscrowd }) => iscrowd !== 1);
  return {
    ...{ width, height },
    boxes: own.map(({ bbox: [x, y, w, h] }): Box => [x, y, x + w, y + h]),
    mask() {
      const mask = emptyMask(width, height);
      for (const annotation of own) addAnnotation(mask, annotation);
      return mask;
    },
  };
}

interface Referring {
  readonly name: string;
  readonly folder: string;
  /** Names of the file of expressions, without its end; the first is what the authors recommend. */
  readonly files: readonly string[];
  readonly splits: readonly string[];
  readonly mirrors: string;
  /** Some expressions describe nothing in their picture. */
  readonly absent: boolean;
}

const IMAGES = ['images/train2014', 'images/mscoco/images/train2014', 'train2014'];

/** @throws UserError for a pickle, which is never opened */
function refsFile(folder: string, { name, folder: own, files, mirrors }: Referring): string {
  const places = files.flatMap((file) => [`${own}/${file}.json`, `${file}.json`]);
  const pickled = files.map((file) => path.join(folder, own, `${file}.p`)).find((file) => existsSync(file));
  if (pickled !== undefined && !places.some((place) => existsSync(path.join(folder, place)))) {
    throw new UserError('is a Python pickle, which can run any program when it is opened, and is never opened', {
      where: pickled,
      remedy: `Take the same records from a mirror on the Hugging Face hub (${mirrors}) as ${path.join(folder, places[0]!)}.`,
    });
  }
  return requirePlace(folder, places, { name, download: `the expressions, ${files[0]!}.json (${mirrors})` });
}

function loadReferring(folder: string, { split }: LoadOptions, referring: Referring): Item<Region>[] {
  const { name, folder: own } = referring;
  const file = refsFile(folder, referring);
  const places = [`${own}/instances.json`, 'instances.json'];
  const instancesFile = requirePlace(folder, places, {
    name,
    download: 'the annotations of COCO that come with the expressions',
  });
  const pictures = requirePlace(folder, IMAGES, {
    name,
    download: "COCO's train2014.zip (all splits use its pictures)",
  });
  const refs = readAnnotations(file, refsSchema).filter((ref) => ref.split === split);
  const instances = readAnnotations(instancesFile, instancesSchema);
  const images = new Map(instances.images.map((image) => [image.id, image]));
  const annotations = new Map(instances.annotations.map((annotation) => [annotation.id, annotation]));
  return refs.flatMap((ref): Item<Region>[] => {
    const image = images.get(ref.image_id);
    if (!image)
      throw new UserError(`ref ${ref.ref_id}: image ${ref.image_id} is not in ${instancesFile}`, { where: file });
    const own = annotationsOf(ref, annotations, file);
    const region = regionOf(own, image.width, image.height);
    const picture = path.join(pictures, plainName(image.file_name));
    return ref.sentences.map(({ sent, raw, sent_id: id }, i) => ({
      id: `${ref.ref_id}-${id ?? i}`,
      images: [picture],
      problem: sent ?? raw ?? '',
      truth: region,
    }));
  });
}

function annotationsOf(
  { ann_id: named, ref_id: ref }: Ref,
  known: ReadonlyMap<number, CocoAnnotation>,
  file: string,
): CocoAnnotation[] {
  const list = [named].flat();
  if (list.includes(-1)) {
    if (list.length === 1) return [];
    throw new UserError(`ref ${ref}: -1, no target, stands beside targets`, { where: file });
  }
  return list.map((id) => {
    const annotation = known.get(id);
    if (annotation) return annotation;
    throw new UserError(`ref ${ref}: annotation ${id} is not in instances.json`, { where: file });
  });
}

/** The name of the picture in `COCO_train2014_000000581857_2.jpg`, whose last part numbers objects. */
const plainName = (file: string): string => file.replace(/^(COCO_train2014_\d+)_\d+\.jpg$/, '$1.jpg');

/** lmms-lab/RefCOCO and its sisters: a row is an object, its answers are its expressions, and its box is `xywh`. */
const lmmsSchema = z.looseObject({
  question_id: z.union([z.number(), z.string()]),
  answer: z.array(z.string()).min(1),
  bbox: z.tuple([z.number(), z.number(), z.number(), z.number()]),
  segmentation: z.array(coordinate),
});

const lmmsForm: RowForm<Region> = {
  columns: ['question_id', 'answer', 'bbox', 'segmentation'],
  picture: 'image',
  read(row, { number, where, protocol, picture }) {
    const { answer, bbox, segmentation } = checked(row, lmmsSchema, where);
    const truth = async (): Promise<Region> => {
      const { width, height } = await sizeOf(await picture(), where);
      return regionOf([{ id: number, bbox, segmentation: [segmentation] }], width, height);
    };
    return answer.map((text, i) => ({
      id: `${number}-${i}`,
      problem: protocol === 'visurf' ? publishedQuestion(text) : text,
      truth,
    }));
  },
};

export function makeReferring(referring: Referring): Benchmark<Region, RegionMarks> {
  const { name, splits, absent } = referring;
  return {
    ...{ name, splits },
    task: () => 'grounding',
    load: (folder, options) =>
      Promise.resolve().then(() => {
        const items = loadReferring(folder, options, referring);
        return options.protocol === 'visurf'
          ? items.map((item) => ({ ...item, problem: publishedQuestion(item.problem) }))
          : items;
      }),
    mirrored: (row) => () => mirroredRegion(row),
    ...(!absent && { forms: [lmmsForm] }),
    mark: markRegion,
    summarise: (marks: readonly RegionMarks[], protocol: Protocol): Summary => ({
      metrics: regionMetrics(marks, protocol, absent),
      notes: regionNotes(marks, protocol),
    }),
  };
}

/** Python's `strip` of any of these characters. */
const strip = (text: string, characters: string): string => {
  let [start, end] = [0, text.length];
  while (start < end && characters.includes(text[start]!)) start += 1;
  while (end > start && characters.includes(text[end - 1]!)) end -= 1;
  return text.slice(start, end);
};

/** A question as the published code puts it: `.lower().strip('."?!')`, then `.strip('"!')`. */
export const publishedQuestion = (text: string): string => strip(strip(text.toLowerCase(), '."?!'), '"!');

const MIRRORS = {
  grefcoco: 'FudanCVL/gRefCOCO',
  refcoco: 'jxu124/refcoco, lmms-lab/RefCOCO',
  'refcoco+': 'jxu124/refcocoplus, lmms-lab/RefCOCOplus',
  refcocog: 'jxu124/refcocog, lmms-lab/RefCOCOg',
};
const UNC = ['val', 'testA', 'testB', 'train'];

const always = (name: 'refcoco' | 'refcoco+' | 'refcocog', files: readonly string[], splits: readonly string[]) =>
  makeReferring({ name, folder: name, files, splits, mirrors: MIRRORS[name], absent: false });

export const referring = [
  makeReferring({
    ...{ name: 'grefcoco', folder: 'grefcoco', files: ['grefs(unc)'] },
    ...{ splits: UNC, mirrors: MIRRORS.grefcoco, absent: true },
  }),
  always('refcoco', ['refs(unc)'], UNC),
  always('refcoco+', ['refs(unc)'], UNC),
  always('refcocog', ['refs(umd)', 'refs(google)'], ['val', 'test', 'train']),
];
