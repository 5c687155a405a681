/**
 * The published reward of the VisionReasoner line, available by name because results in the literature were made
 * with it. It rewards hallucination: an empty answer to an empty label gets no credit, a made-up box full format.
 *
 * Where pictures have the size at which the model sees them, as the published ones of 840 x 840 do, its value is the
 * published one. Elsewhere coordinates are compared in pixels of the original picture, with the task's thresholds.
 */
import type { Box, Frame, Point, Terms } from '../../types.ts';
import { PYTHON_SPACE, pythonJson, pythonStrip } from '../python.ts';
import { answerBlock } from '../thinking.ts';
import { bestMatching } from './accuracy.ts';
import { isRecord, MAX_OBJECTS, readPoint } from './answer.ts';
import { boxDistance, contains, pointDistance } from './geometry.ts';
import type { Thresholds } from './parameters.ts';
import type { GroundingTruth, TrueObject } from './truth.ts';

const BETWEEN = new RegExp(`</think>[${PYTHON_SPACE}]*<answer>`);

/**
 * `<think>.*?</think>\s*<answer>.*?</answer>`, and nothing else, in time linear in the text: of all places where a thought
 * may end and an answer begin, the first leaves most room.
 */
export function isTagged(text: string): boolean {
  const [open, close] = ['<think>', '</answer>'];
  const between = BETWEEN.exec(text.slice(open.length));
  const end = between ? open.length + between.index + between[0].length : Infinity;
  return text.startsWith(open) && text.endsWith(close) && end + close.length <= text.length;
}

type Found = TrueObject & { readonly point: NonNullable<TrueObject['point']> };

export function visionReasonerTerms(
  text: string,
  { objects }: GroundingTruth,
  frame: Frame,
  thresholds: Thresholds,
): Terms {
  const list = answerList(text);
  return {
    thinking: Number(isTagged(text)),
    format: formatMark(list),
    accuracy: accuracyMark(list, objects, frame, thresholds),
    nonRepeat: repeatMark(text),
  };
}

function answerList(text: string): readonly unknown[] {
  try {
    const list = pythonJson(pythonStrip(answerBlock(text) ?? ''));
    return Array.isArray(list) ? list : [];
  } catch {
    return [];
  }
}

const FIELDS = [
  ['bbox_2d', 4],
  ['point_2d', 2],
] as const;

/** Mean over items of [bbox_2d has 4 entries] + [point_2d has 2], up to the first item that Python cannot look into. */
function formatMark(list: readonly unknown[]): number {
  let sum = 0;
  for (const item of list) {
    if (!isRecord(item)) {
      const isOpaque = typeof item !== 'string' && !Array.isArray(item);
      if (isOpaque || FIELDS.some(([field]) => item.includes(field))) break;
      continue;
    }
    const mark = FIELDS.filter(([field, length]) => hasLength(item[field], length)).length;
    sum += mark / list.length;
  }
  return sum;
}

const hasLength = (value: unknown, length: number): boolean => Array.isArray(value) && value.length === length;

/** 0 unless every item has a box and a point; only the first 120 on either side count. */
function accuracyMark(
  list: readonly unknown[],
  truth: readonly TrueObject[],
  frame: Frame,
  thresholds: Thresholds,
): number {
  if (!list.every((item) => isRecord(item) && FIELDS.every(([field]) => Object.hasOwn(item, field)))) return 0;
  const found = list.slice(0, MAX_OBJECTS).map((item) => readObject(item as Record<string, unknown>, frame));
  const predicted = found.filter((object) => object !== undefined);
  const longest = Math.max(predicted.length, truth.length);
  if (predicted.length < found.length || longest === 0) return 0;
  return bestMatching(predicted, truth, (p, t) => objectMark(p, t, thresholds)) / longest;
}

function readObject({ bbox_2d: box, point_2d: point }: Record<string, unknown>, frame: Frame): Found | undefined {
  const [corners, place] = [numbersOf(box, 4), numbersOf(point, 2)];
  if (!corners || !place) return undefined;
  return {
    box: [
      ...readPoint(corners.slice(0, 2) as unknown as Point, frame),
      ...readPoint(corners.slice(2) as unknown as Point, frame),
    ],
    point: readPoint(place as unknown as Point, frame),
  };
}

/** True and false are numbers beside others. */
function numbersOf(value: unknown, count: number): readonly number[] | undefined {
  if (!Array.isArray(value) || value.length !== count) return undefined;
  const entries: readonly unknown[] = value;
  const areNumbers = entries.every((entry) => typeof entry === 'number' || typeof entry === 'boolean');
  return areNumbers ? entries.map(Number) : undefined;
}

function objectMark(predicted: Found, truth: TrueObject, thresholds: Thresholds): number {
  const pointHits =
    truth.point !== undefined &&
    pointDistance(predicted.point, truth.point) < thresholds.pointError &&
    contains(predicted.box, predicted.point);
  return (
    Number(inclusiveIou(predicted.box, truth.box) > thresholds.iouThreshold) +
    Number(boxDistance(predicted.box, truth.box) < thresholds.boxError) +
    Number(pointHits)
  );
}

/** IoU of boxes whose last row and column of pixels belong to them: every extent is one larger. */
export function inclusiveIou(a: Box, b: Box): number {
  const width = Math.min(a[2], b[2]) - Math.max(a[0], b[0]) + 1;
  const height = Math.min(a[3], b[3]) - Math.max(a[1], b[1]) + 1;
  const intersection = Math.max(0, width) * Math.max(0, height);
  return intersection / (inclusiveArea(a) + inclusiveArea(b) - intersection);
}

export const inclusiveArea = ([x0, y0, x1, y1]: Box): number => (x1 - x0 + 1) * (y1 - y0 + 1);

/** 0 once two sentences (split at full stops) repeat earlier ones, else 1; of the whole text, answer included. */
function repeatMark(text: string): number {
  const sentences = text.split('.').map(pythonStrip).filter(Boolean);
  return sentences.length - new Set(sentences).size >= 2 ? 0 : 1;
}
