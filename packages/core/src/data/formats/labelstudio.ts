/** Label Studio: JSON and JSON_MIN; boxes in percent of the picture, maybe turned; outlines; brushes are not read. */
import { hull, outlineOf } from './geometry.ts';
import {
  fault,
  isObject,
  isText,
  objectsOf,
  sizeOf,
  type Item,
  type LabelledBox,
  type Numbers,
  type Size,
} from './record.ts';
import type { ReadContext, Reader } from './reader.ts';
import { records } from './source.ts';

type Json = Readonly<Record<string, unknown>>;

const LABELS = ['rectanglelabels', 'polygonlabels', 'ellipselabels', 'keypointlabels', 'brushlabels', 'labels'];
const PERCENT = { form: 'xyxy', units: 'percent', fixed: true } as const;

const isMin = (value: Json): boolean => Object.values(value).some((held) => objectsOf(held).some(isShape));
const isShape = (shape: Json): boolean => 'original_width' in shape || LABELS.slice(0, 5).some((name) => name in shape);

export const labelStudio: Reader = {
  name: 'label-studio',
  knows: ({ first, head }) =>
    first === undefined
      ? /"(?:rectanglelabels|polygonlabels|completed_by|annotation_id)"/.test(head)
      : (('annotations' in first || 'completions' in first) && 'data' in first) ||
        ('annotation_id' in first && ('annotator' in first || isMin(first))),
  async *read(source, context) {
    for (const file of source.files) {
      for await (const record of records(file)) {
        yield 'kind' in record ? record : imageOf(record.value, record.place, context);
      }
    }
  },
};

function imageOf(task: Json, place: { file: string; record: number }, context: ReadContext): Item {
  const data = isObject(task['data']) ? task['data'] : task;
  const texts = [data['image'], data['img'], ...Object.values(data)].filter(isText);
  const name = texts.find(isImage) ?? (isText(data['image']) ? data['image'] : undefined);
  if (!isText(name)) return fault(place, 'the task has no image');
  const given = objectsOf(task['annotations'] ?? task['completions']).filter((each) => each['was_cancelled'] !== true);
  if (given.length > 1) context.note('of tasks with several annotations the first is read');
  const shapes =
    'data' in task ? objectsOf(given[0]?.['result']) : Object.values(task).flatMap(objectsOf).filter(isShape);
  const objects: LabelledBox[] = [];
  const unsure: string[] = [];
  let frame: Size | undefined;
  for (const shape of shapes) {
    const value = isObject(shape['value']) ? shape['value'] : shape;
    const labels = LABELS.flatMap((each) => (Array.isArray(value[each]) ? (value[each] as unknown[]) : [])).filter(
      isText,
    );
    if (labels.length === 0) continue;
    const size = sizeOf(shape['original_width'], shape['original_height']);
    frame ??= size;
    const numbers = boxOf(value, size ?? { width: 100, height: 100 });
    const mask = numbers && Array.isArray(value['points']) ? outlineOf(pairsOf(value['points'])) : undefined;
    for (const label of labels) {
      if (numbers) objects.push({ label, numbers, mask: mask?.mask, convention: PERCENT });
      else unsure.push(label);
    }
  }
  return { kind: 'image', place, image: context.images.find(nameOf(name), place.file), frame, objects, unsure };
}

const isImage = (value: string): boolean => /\.(?:jpe?g|png|webp|gif|tiff?|bmp|avif)(?:$|[?#&])/i.test(value);

/** The file within Label Studio's links: `/data/local-files/?d=PATH`, `/data/upload/1/HASH-NAME`, `s3://...`. */
function nameOf(link: string): string {
  const local = /[?&]d=([^&]+)/.exec(link)?.[1];
  const plain = local ?? link.replace(/^[a-z][\w+.-]*:\/\/[^/]*\//i, '').replace(/[?#][^]*$/, '');
  try {
    return decodeURIComponent(plain).replace(/^\/+/, '');
  } catch {
    return plain.replace(/^\/+/, '');
  }
}

const pairsOf = (points: readonly unknown[]): [number, number][] =>
  points.map((point) => (Array.isArray(point) ? point.map(Number) : [])) as [number, number][];

/** The box in percent around a rectangle turned about its corner, an ellipse, or an outline. */
function boxOf(value: Json, { width, height }: Size): Numbers | undefined {
  if (Array.isArray(value['points'])) {
    const points = pairsOf(value['points']);
    return points.length > 2 ? hull(points) : undefined;
  }
  const [x, y, w, h] = ['x', 'y', 'width', 'height'].map((name) => Number(value[name])) as unknown as Numbers;
  const [rx, ry] = [Number(value['radiusX']), Number(value['radiusY'])];
  if (Number.isFinite(rx) && Number.isFinite(ry))
    return hull([
      [x - rx, y - ry],
      [x + rx, y + ry],
    ]);
  const angle = (Number(value['rotation'] ?? 0) * Math.PI) / 180;
  // Turned in pixels: percents of two unequal sides cannot be.
  const turned = [
    [0, 0],
    [w, 0],
    [w, h],
    [0, h],
  ].map(([dx, dy]): [number, number] => {
    const [px, py] = [(dx! * width) / 100, (dy! * height) / 100];
    const [tx, ty] = [px * Math.cos(angle) - py * Math.sin(angle), px * Math.sin(angle) + py * Math.cos(angle)];
    return [x + (tx * 100) / width, y + (ty * 100) / height];
  });
  return hull(turned);
}
