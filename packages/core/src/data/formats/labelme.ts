/** LabelMe's JSON: a file for every image, `shapes` of points. */
import path from 'node:path';
import { listOf } from './conversation.ts';
import { hull, outlineOf } from './geometry.ts';
import {
  fault,
  isObject,
  isText,
  objectsOf,
  sizeOf,
  type Convention,
  type Item,
  type LabelledBox,
  type Numbers,
} from './record.ts';
import type { ReadContext, Reader } from './reader.ts';
import { headOf, readJson } from './source.ts';

type Json = Readonly<Record<string, unknown>>;

const PIXELS: Convention = { form: 'xyxy' };

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
    const found = shapeOf(type, corners as [number, number][]);
    if (found) objects.push({ label, ...found, convention: PIXELS });
    else unsure.push(label);
  }
  const frame = sizeOf(document['imageWidth'], document['imageHeight']);
  const stem = path.basename(place.file, path.extname(place.file));
  const image = context.images.findAny([document['imagePath'], stem], place.file);
  return { kind: 'image', place, image, frame, objects, unsure };
}

function shapeOf(
  type: unknown,
  points: readonly [number, number][],
): Pick<LabelledBox, 'numbers' | 'mask'> | undefined {
  if (type === 'polygon' || (type === undefined && points.length > 2)) return outlineOf(points);
  const numbers = type === 'circle' ? circleBox(points) : points.length > 1 ? hull(points) : undefined;
  return numbers && { numbers };
}

/** LabelMe's circles are a centre and a point on the edge. */
function circleBox([centre, edge]: readonly (readonly number[])[]): Numbers | undefined {
  if (!centre || !edge) return undefined;
  const [x, y] = [centre[0]!, centre[1]!];
  const radius = Math.hypot(edge[0]! - x, edge[1]! - y);
  return [x - radius, y - radius, x + radius, y + radius];
}
