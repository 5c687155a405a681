/** JSON of annotation tools: VIA, LabelMe, CreateML, VoTT. */
import path from 'node:path';
import { listOf } from './conversation.ts';
import { hull } from './geometry.ts';
import { fault, fourNumbers, isObject, isText, objectsOf, sizeOf } from './record.ts';
import type { Convention, Item, LabelledBox, Numbers } from './record.ts';
import type { ReadContext, Reader } from './reader.ts';
import { headOf, readJson, records } from './source.ts';

type Json = Readonly<Record<string, unknown>>;

const PIXELS: Convention = { form: 'xyxy' };

/** VGG Image Annotator: images by name, `regions` as a list or (version 1) an object. */
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

/** LabelMe's JSON: a file for every image, `shapes` of points. */
export const labelme: Reader = {
  name: 'labelme',
  knows: ({ document, head }) =>
    (document !== undefined && Array.isArray(document['shapes']) && 'imagePath' in document) ||
    (document === undefined && /"shapes"\s*:\s*\[/.test(head) && /"(?:shape_type|imagePath|version)"/.test(head)),
  async *read(source, context) {
    for (const file of source.files) {
      const place = { file, record: 1 };
      // Folders hold other JSON as well.
      if (source.isFolder && !(await headOf(file)).includes('"shapes"')) continue;
      const document = await readJson(file);
      if (!isObject(document) || !Array.isArray(document['shapes']))
        yield fault(place, 'no LabelMe file: it has no shapes');
      else yield labelmeImage(document, place, context);
    }
  },
};

function labelmeImage(document: Json, place: { file: string; record: number }, context: ReadContext): Item {
  const objects: LabelledBox[] = [];
  const unsure: string[] = [];
  for (const [i, shape] of objectsOf(document['shapes']).entries()) {
    const { label, points, shape_type: type } = shape;
    if (!isText(label)) return fault(place, `shape ${i + 1} has no label`);
    const corners = (Array.isArray(points) ? (points as unknown[]) : []).map((point) => listOf(point).map(Number));
    const numbers =
      type === 'circle' ? circleBox(corners) : corners.length > 1 ? hull(corners as [number, number][]) : undefined;
    if (numbers) objects.push({ label, numbers, convention: PIXELS });
    else unsure.push(label);
  }
  const frame = sizeOf(document['imageWidth'], document['imageHeight']);
  const stem = path.basename(place.file, path.extname(place.file));
  const image = context.images.findAny([document['imagePath'], stem], place.file);
  return { kind: 'image', place, image, frame, objects, unsure };
}

/** LabelMe's circles are a centre and a point on the edge. */
function circleBox([centre, edge]: readonly (readonly number[])[]): Numbers | undefined {
  if (!centre || !edge) return undefined;
  const [x, y] = [centre[0]!, centre[1]!];
  const radius = Math.hypot(edge[0]! - x, edge[1]! - y);
  return [x - radius, y - radius, x + radius, y + radius];
}

/** CreateML: boxes by their centre, in pixels. */
export const createml: Reader = {
  name: 'createml',
  knows: ({ first }) =>
    isText(first?.['image'] ?? first?.['imagefilename']) &&
    objectsOf(first?.['annotations'] ?? first?.['annotation']).some((each) => 'coordinates' in each),
  async *read(source, context) {
    for (const file of source.files) {
      for await (const record of records(file)) {
        if ('kind' in record) yield record;
        else {
          const { place, value } = record;
          const name = value['image'] ?? value['imagefilename'];
          const objects = objectsOf(value['annotations'] ?? value['annotation']).flatMap((each): LabelledBox[] => {
            const { label, coordinates: at } = each;
            const numbers = isObject(at) ? fourNumbers([at['x'], at['y'], at['width'], at['height']]) : undefined;
            return isText(label) && numbers ? [{ label, numbers, convention: { form: 'cxcywh' } }] : [];
          });
          if (!isText(name)) yield fault(place, 'no image');
          else yield { kind: 'image', place, image: context.images.find(name, file), objects, unsure: [] };
        }
      }
    }
  },
};

/** LLaVA's captions with boxes: `instances` of category and corners. */
export const instances: Reader = {
  name: 'instances',
  knows: ({ first }) => isText(first?.['image']) && objectsOf(first['instances']).some((each) => 'bbox' in each),
  async *read(source, context) {
    for (const file of source.files) {
      for await (const record of records(file)) {
        if ('kind' in record) yield record;
        else yield instancesOf(record.value, record.place, context);
      }
    }
  },
};

function instancesOf(value: Json, place: { file: string; record: number }, context: ReadContext): Item {
  if (!isText(value['image'])) return fault(place, 'no image');
  const objects: LabelledBox[] = [];
  for (const [i, each] of objectsOf(value['instances']).entries()) {
    const { category: label, bbox } = each;
    const numbers = Array.isArray(bbox) ? fourNumbers(bbox as unknown[]) : undefined;
    if (!isText(label) || !numbers)
      return fault(place, `instance ${i + 1} has no category, or no bbox of four numbers`);
    objects.push({ label, numbers, convention: {} });
  }
  return { kind: 'image', place, image: context.images.find(value['image'], place.file), objects, unsure: [] };
}
