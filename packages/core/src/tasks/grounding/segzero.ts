/**
 * Seg-Zero's answer, one object as `{"bbox": [..], "points_1": [..], "points_2": [..]}`, and its published reward,
 * `seg_strict`. The points are centres of the two largest circles in the object; a label with one point has it twice.
 *
 * As in visionreasoner.ts the value is the published one where pictures have the size at which the model sees them; the
 * limit on the distance of points is part of the published rule.
 */
import type { Box, Frame, Point, Terms } from '../../types.ts';
import type { Prediction, SurfaceForm } from '../task.ts';
import { keysOf, SPACINGS, spacingOf, wrapOf, WRAPS, type Spacing, type Wrap } from '../spelling.ts';
import { answerBlock, nonRepeat } from '../thinking.ts';
import { pythonJson, pythonStrip } from '../python.ts';
import { beforeAnswer } from '../weights.ts';
import { isNumbers, isRecord, readPoint } from './answer.ts';
import { boxDistance, contains, pointDistance, toModel } from './geometry.ts';
import type { Thresholds } from './parameters.ts';
import type { GroundingTruth, TrueObject } from './truth.ts';
import { inclusiveArea, isTagged } from './visionreasoner.ts';

/** Mean distance of the two points below which they are right, in pixels. */
const POINTS_ERROR = 100;

type Fields = Readonly<Record<string, unknown>>;

/** The first braces of a text with something between them, whatever is around them: `{[^}]+}` in linear time. */
function bracesOf(text: string): string | undefined {
  for (let start = text.indexOf('{'); start >= 0; start = text.indexOf('{', start + 1)) {
    const end = text.indexOf('}', start);
    if (end < 0) return undefined;
    if (end > start + 1) return text.slice(start, end + 1);
  }
  return undefined;
}

function fieldsOf(text: string): Fields | undefined {
  const json = bracesOf(text);
  try {
    const value = json === undefined ? undefined : pythonJson(json);
    return isRecord(value) ? value : undefined;
  } catch {
    return undefined;
  }
}

export function segZeroTerms(
  text: string,
  { objects: [truth] }: GroundingTruth,
  frame: Frame,
  thresholds: Thresholds,
): Terms {
  const fields = fieldsOf(text);
  return {
    thinking: Number(isTagged(text)),
    format: Number(fields !== undefined && isWhole(fields)),
    accuracy: fields && truth ? accuracyMark(fields, truth, frame, thresholds) : 0,
    nonRepeat: nonRepeat(beforeAnswer(text)),
  };
}

const isWhole = (fields: Fields): boolean =>
  [
    ['bbox', 4],
    ['points_1', 2],
    ['points_2', 2],
  ].every(([field, length]) => {
    const value = fields[field!];
    return Array.isArray(value) && value.length === length;
  });

/** [IoU > threshold] + [mean absolute error of the box < threshold] + [both points lie in the box, near the true ones]. */
function accuracyMark({ bbox, points_1, points_2 }: Fields, truth: TrueObject, frame: Frame, thresholds: Thresholds) {
  if (!Array.isArray(bbox) || bbox.length !== 4) return 0;
  const corners = bbox.map((value: unknown) => (typeof value === 'boolean' ? Number(value) : value));
  if (!corners.every((value) => typeof value === 'number')) return 0;
  const [x0, y0, x1, y1] = corners as [number, number, number, number];
  const box: Box = [...readPoint([x0, y0], frame), ...readPoint([x1, y1], frame)];
  const said = [points_1, points_2].map((point) => wholePoint(point, frame));
  const isNear = said.every((point) => point !== undefined && contains(box, point)) && pairDistance(said, truth);
  return (
    Number(overlapOf(box, truth.box) > thresholds.iouThreshold) +
    Number(isNear !== false && isNear < POINTS_ERROR) +
    Number(boxDistance(box, truth.box) < thresholds.boxError)
  );
}

/** IoU with inclusive pixels, except that boxes which only touch share nothing. */
function overlapOf(a: Box, b: Box): number {
  const [x0, y0, x1, y1] = [Math.max(a[0], b[0]), Math.max(a[1], b[1]), Math.min(a[2], b[2]), Math.min(a[3], b[3])];
  const shared = x0 < x1 && y0 < y1 ? inclusiveArea([x0, y0, x1, y1]) : 0;
  return shared / (inclusiveArea(a) + inclusiveArea(b) - shared);
}

/** `int()` of the first two entries. */
function wholePoint(point: unknown, frame: Frame): Point | undefined {
  const entries: readonly unknown[] = typeof point === 'string' ? Array.from(point) : Array.isArray(point) ? point : [];
  const [x, y] = entries.slice(0, 2).map(wholeNumber);
  return x === undefined || y === undefined ? undefined : readPoint([x, y], frame);
}

function wholeNumber(value: unknown): number | undefined {
  if (typeof value === 'number' || typeof value === 'boolean') {
    return Number.isFinite(Number(value)) ? Math.trunc(Number(value)) : undefined;
  }
  const text = typeof value === 'string' ? pythonStrip(value) : '';
  return /^[+-]?\d+(?:_\d+)*$/.test(text) ? Number(text.replaceAll('_', '')) : undefined;
}

/** Mean distance of two points from the true ones, in the order that is nearer. */
function pairDistance(said: readonly (Point | undefined)[], { point, second = point }: TrueObject): number {
  const [[a, b], [c, d]] = [said as [Point, Point], [point!, second!]];
  const [straight, crossed] = [pointDistance(a, c) + pointDistance(b, d), pointDistance(a, d) + pointDistance(b, c)];
  return Math.min(straight, crossed) / 2;
}

export function parseSegZero(text: string, frame: Frame): Prediction {
  const { bbox, points_1, points_2 } = fieldsOf(text) ?? {};
  const points = [points_1, points_2].flatMap((point) => (isNumbers<Point>(point, 2) ? [readPoint(point, frame)] : []));
  const boxes: Box[] = isNumbers<Box>(bbox, 4)
    ? [[...readPoint([bbox[0], bbox[1]], frame), ...readPoint([bbox[2], bbox[3]], frame)]]
    : [];
  return { wellFormed: boxes.length === 1 && points.length === 2, boxes, points };
}

const nameOf = (spacing: Spacing, wrap: Wrap): string => `${spacing} ${wrap}`;

/** The example of the published prompt comes first. */
export const segZeroForms: readonly SurfaceForm<GroundingTruth>[] = keysOf(WRAPS).flatMap((wrap) =>
  (['tight-lists', 'spaced', 'compact'] as const).map((spacing) => ({
    name: nameOf(spacing, wrap),
    write: ({ objects }, frames) => `<answer>${WRAPS[wrap](written(objects[0], frames[0]!, spacing))}</answer>`,
  })),
);

function written(object: TrueObject | undefined, frame: Frame, spacing: Spacing): string {
  const { colon, comma, inner } = SPACINGS[spacing];
  if (!object) return '{}';
  const { box, point, second = point } = object;
  const fields: readonly (readonly [string, number[]])[] = [
    ['bbox', [...toModel([box[0], box[1]], frame), ...toModel([box[2], box[3]], frame)]],
    ['points_1', toModel(point!, frame)],
    ['points_2', toModel(second!, frame)],
  ];
  return `{${fields.map(([name, numbers]) => `"${name}"${colon}[${numbers.join(inner)}]`).join(comma)}}`;
}

export function recogniseSegZero(text: string): string | undefined {
  const block = answerBlock(text);
  const json = bracesOf(block ?? '');
  const spacing = json === undefined ? undefined : spacingOf(json);
  return spacing === undefined ? undefined : nameOf(spacing, wrapOf(block!));
}
