/** VGG Image Annotator: images by name, `regions` as a list or (version 1) an object. */
import { hull } from './geometry.ts';
import {
  fault,
  fourNumbers,
  isObject,
  isText,
  objectsOf,
  type Convention,
  type Item,
  type LabelledBox,
  type Numbers,
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
    const numbers = viaBox(region['shape_attributes']);
    if (numbers) objects.push({ label, numbers, convention: PIXELS });
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

function viaBox(shape: unknown): Numbers | undefined {
  if (!isObject(shape)) return undefined;
  const { name, x, y, width, height, cx, cy, r, rx = r, ry = r } = shape;
  if (name === 'rect') {
    const box = fourNumbers([x, y, width, height]);
    return box && [box[0], box[1], box[0] + box[2], box[1] + box[3]];
  }
  const round = fourNumbers([cx, cy, rx, ry]);
  if (round) return [round[0] - round[2], round[1] - round[3], round[0] + round[2], round[1] + round[3]];
  const [xs, ys] = [shape['all_points_x'], shape['all_points_y']];
  if (!Array.isArray(xs) || !Array.isArray(ys) || xs.length !== ys.length || xs.length < 3) return undefined;
  return hull(xs.map((each, i): [number, number] => [Number(each), Number(ys[i])]));
}
