/** VGG Image Annotator: images by name, `regions` as a list or (version 1) an object. */
import { outlineOf } from './geometry.ts';
import {
  fault,
  fourNumbers,
  isObject,
  isText,
  objectsOf,
  type Convention,
  type Item,
  type LabelledBox,
} from './record.ts';
import type { ReadContext, Reader } from './reader.ts';
import { readJson } from './source.ts';

type Json = Readonly<Record<string, unknown>>;

const PIXELS: Convention = { form: 'xyxy' };

export const via: Reader = {
  name: 'via',
  knows: ({ document, first, head }) =>
    (document !== undefined && '_via_img_metadata' in document) ||
    (first !== undefined && 'filename' in first && 'regions' in first) ||
    head.includes('"_via_img_metadata"') ||
    (head.includes('"regions"') && head.includes('"shape_attributes"')),
  async *read(source, context) {
    for (const file of source.files) {
      const document = await readJson(file);
      const held =
        isObject(document) && isObject(document['_via_img_metadata']) ? document['_via_img_metadata'] : document;
      for (const [i, image] of Object.values((held ?? {}) as Json).entries()) {
        yield viaImage(image, { file, record: i + 1 }, context);
      }
    }
  },
};

function viaImage(image: unknown, place: { file: string; record: number }, context: ReadContext): Item {
  if (!isObject(image) || !isText(image['filename'])) return fault(place, 'an image without filename');
  const regions = Array.isArray(image['regions']) ? image['regions'] : Object.values((image['regions'] ?? {}) as Json);
  const objects: LabelledBox[] = [];
  const unsure: string[] = [];
  for (const [i, region] of objectsOf(regions).entries()) {
    const label = viaLabel(region['region_attributes']);
    if (label === undefined) return fault(place, `region ${i + 1} has no attribute that names its class`);
    const shape = viaShape(region['shape_attributes']);
    if (shape) objects.push({ label, ...shape, convention: PIXELS });
    else unsure.push(label);
  }
  return { kind: 'image', place, image: context.images.find(image['filename'], place.file), objects, unsure };
}

/** The class: the attribute of a usual name, else the first text; of a radio button or checkbox the one that is set. */
function viaLabel(attributes: unknown): string | undefined {
  if (!isObject(attributes)) return undefined;
  const usual = ['label', 'class', 'name', 'category', 'type', 'object'].map((name) => attributes[name]);
  for (const value of [...usual, ...Object.values(attributes)]) {
    if (isText(value)) return value.trim();
    const set = isObject(value) ? Object.keys(value).filter((key) => value[key] === true) : [];
    if (set.length === 1) return set[0];
  }
  return undefined;
}

function viaShape(shape: unknown): Pick<LabelledBox, 'numbers' | 'mask'> | undefined {
  if (!isObject(shape)) return undefined;
  const { name, x, y, width, height, cx, cy, r, rx = r, ry = r } = shape;
  if (name === 'rect') {
    const box = fourNumbers([x, y, width, height]);
    return box && { numbers: [box[0], box[1], box[0] + box[2], box[1] + box[3]] };
  }
  const round = fourNumbers([cx, cy, rx, ry]);
  if (round) {
    const [x0, y0, w, h] = round;
    return { numbers: [x0 - w, y0 - h, x0 + w, y0 + h] };
  }
  const [xs, ys] = [shape['all_points_x'], shape['all_points_y']];
  if (!Array.isArray(xs) || !Array.isArray(ys) || xs.length !== ys.length || xs.length < 3) return undefined;
  const outline = outlineOf(xs.map((each, i): [number, number] => [Number(each), Number(ys[i])]));
  return name === 'polyline' ? outline && { numbers: outline.numbers } : outline;
}
