/** COCO detection, as Roboflow, CVAT and LabelMe export it too: boxes, polygons or run-length masks, `iscrowd`. */
import path from 'node:path';
import { UserError } from '../../errors.ts';
import { hull, maskBox, pointsOf } from './geometry.ts';
import { fault, fourNumbers, isObject, isText, objectsOf, sizeOf } from './record.ts';
import type { Item, LabelledBox, MaskPart, Numbers } from './record.ts';
import type { Reader, ReadContext } from './reader.ts';
import { isOfSplit, readJson } from './source.ts';

type Json = Readonly<Record<string, unknown>>;

export const coco: Reader = {
  name: 'coco',
  knows: ({ document, extension, head }) =>
    extension === 'json' &&
    head.trimStart().startsWith('{') &&
    (document === undefined
      ? /"(?:images|annotations|categories|info|licenses)"\s*:/.test(head)
      : Array.isArray(document['images']) && (Array.isArray(document['annotations']) || 'categories' in document)),
  async *read(source, context) {
    const boxes = source.files.filter((file) => path.basename(file).startsWith('instances'));
    // COCO's own folders hold captions and keypoints of the same pictures beside the boxes.
    for (const file of boxes.length > 0 ? boxes : source.files) {
      if (source.split !== undefined && source.files.length > 1) {
        if (!isOfSplit(path.relative(source.root, file), source.split)) continue;
      }
      const document = await readJson(file);
      if (!isObject(document) || !Array.isArray(document['images'])) {
        throw new UserError('no COCO file: it has no list of images', { where: file });
      }
      const annotations = objectsOf(document['annotations']).flatMap(panopticParts);
      if (annotations.length > 0 && annotations.every((each) => !('category_id' in each))) {
        throw new UserError('it marks no objects: its annotations have no category_id', { where: file });
      }
      yield* imagesOf(file, document, annotations, context);
    }
  },
};

/** Objects of a panoptic annotation; any other is one itself. */
const panopticParts = (annotation: Json): Json[] =>
  Array.isArray(annotation['segments_info'])
    ? objectsOf(annotation['segments_info']).map((part) => ({ ...part, image_id: annotation['image_id'] }))
    : [annotation];

function* imagesOf(file: string, document: Json, annotations: readonly Json[], context: ReadContext): Generator<Item> {
  const classes = classesOf(objectsOf(document['categories']), annotations);
  context.declare(...classes.values());
  // Some programs write the same id as a number here and as a text there.
  const byImage = Map.groupBy(annotations, ({ image_id }) => String(image_id));
  const known = new Map<string, string>();
  for (const [i, image] of (document['images'] as unknown[]).entries()) {
    const place = { file, record: i + 1 };
    if (!isObject(image) || !isText(image['file_name'])) {
      yield fault(place, 'an image without file_name');
      continue;
    }
    const [id, name] = [String(image['id']), image['file_name']];
    const other = known.get(id);
    if (other !== undefined && other !== name) {
      yield fault(place, `the image ${name} has the id of ${other} (${id}): whose the annotations are cannot be told`);
      continue;
    }
    known.set(id, name);
    const objects: LabelledBox[] = [];
    const unsure: string[] = [];
    const faults: string[] = [];
    for (const annotation of byImage.get(id) ?? []) {
      const label = classes.get(String(annotation['category_id']));
      const found = boxOf(annotation);
      if (label === undefined) faults.push(`annotation ${String(annotation['id'])}: there is no such category_id`);
      else if (annotation['iscrowd'] === 1 || annotation['iscrowd'] === true || !found) unsure.push(label);
      else objects.push({ label, ...found, mask: maskOf(annotation['segmentation']) });
    }
    if (faults.length > 0) yield fault(place, faults[0]!);
    else {
      const frame = sizeOf(image['width'], image['height']);
      yield { kind: 'image', place, image: context.images.find(name, file), frame, objects, unsure };
    }
  }
  const lost = [...byImage].filter(([id]) => !known.has(id)).reduce((sum, [, all]) => sum + all.length, 0);
  if (lost > 0) context.note(`${lost} annotations of images that are not listed are left out`);
}

/** Names by id, without a category that only stands above others and marks nothing (Roboflow's first one). */
function classesOf(categories: readonly Json[], annotations: readonly Json[]): Map<string, string> {
  const used = new Set(annotations.map(({ category_id }) => String(category_id)));
  const above = new Set(
    categories.map(({ supercategory, name }) => (supercategory === name ? undefined : supercategory)),
  );
  const kept = categories.filter(({ id, name }) => isText(name) && (used.has(String(id)) || !above.has(name)));
  return new Map(kept.map(({ id, name }) => [String(id), String(name)]));
}

/** The box of an annotation, or that around its outline or mask. */
function boxOf({ bbox, segmentation }: Json): Omit<LabelledBox, 'label'> | undefined {
  const numbers = Array.isArray(bbox) ? fourNumbers(bbox as unknown[]) : undefined;
  if (numbers) return { numbers, convention: { form: 'xywh' } };
  const outline = outlineBox(segmentation);
  return outline && { numbers: outline, convention: { form: 'xyxy', units: 'pixels', fixed: true } };
}

/** Polygons that have an area, or run lengths; undefined where there are none. */
function maskOf(segmentation: unknown): MaskPart[] | undefined {
  if (isObject(segmentation)) {
    const { size, counts } = segmentation;
    const isRuns = isNumbers(size) && size.length === 2 && (typeof counts === 'string' || isNumbers(counts));
    return isRuns ? [{ size, counts }] : undefined;
  }
  const parts: readonly unknown[] = Array.isArray(segmentation) ? segmentation : [];
  const polygons = parts.filter(isNumbers).filter(({ length }) => length >= 6 && length % 2 === 0);
  return polygons.length > 0 ? polygons : undefined;
}

const isNumbers = (value: unknown): value is number[] =>
  Array.isArray(value) && value.every((each) => Number.isFinite(each));

function outlineBox(segmentation: unknown): Numbers | undefined {
  if (Array.isArray(segmentation)) {
    return hull(
      (segmentation as unknown[]).flatMap((part) => (Array.isArray(part) ? pointsOf(part as unknown[]) : [])),
    );
  }
  if (!isObject(segmentation) || !Array.isArray(segmentation['size'])) return undefined;
  const { counts } = segmentation;
  const height = Number((segmentation['size'] as unknown[])[0]);
  return (Array.isArray(counts) || typeof counts === 'string') && height > 0 ? maskBox(counts, height) : undefined;
}
