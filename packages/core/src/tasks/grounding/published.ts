/**
 * The published reward of the VisionReasoner line, available by name because results in the literature were made
 * with it. It rewards hallucination: an empty answer to an empty label gets no credit, a made-up box full format.
 *
 * Departures: coordinates are compared in pixels of the original image, with the task's thresholds, where the
 * published function compares both in the space of its 840 x 840 images.
 */
import type { Box, Frame, Terms } from '../../types.ts';
import { answerBlock, nonRepeat } from '../thinking.ts';
import { bestMatching } from './accuracy.ts';
import { isNumbers, isRecord, MAX_OBJECTS, readPoint } from './answer.ts';
import { boxDistance, contains, pointDistance } from './geometry.ts';
import type { Thresholds } from './parameters.ts';
import type { GroundingTruth, TrueObject } from './truth.ts';

/**
 * `^<think>.*?</think>\s*<answer>.*?</answer>$`, in time linear in the text: of all places where a thought may end and an
 * answer begin, the first leaves most room.
 */
function isPattern(text: string): boolean {
  const [open, close] = ['<think>', '</answer>'];
  const between = /<\/think>\s*<answer>/.exec(text.slice(open.length));
  const end = between ? open.length + between.index + between[0].length : Infinity;
  return text.startsWith(open) && text.endsWith(close) && end + close.length <= text.length;
}

type Found = TrueObject & { readonly point: NonNullable<TrueObject['point']> };

export function publishedTerms(text: string, truth: GroundingTruth, frame: Frame, thresholds: Thresholds): Terms {
  const list = answerList(text);
  return {
    thinking: Number(isPattern(text)),
    format: publishedFormat(list),
    accuracy: publishedAccuracy(list, truth.objects, frame, thresholds),
    nonRepeat: nonRepeat(text),
  };
}

function answerList(text: string): readonly unknown[] {
  try {
    const list: unknown = JSON.parse(answerBlock(text) ?? '');
    return Array.isArray(list) ? list : [];
  } catch {
    return [];
  }
}

/** Mean over items of [bbox_2d has 4 entries] + [point_2d has 2]; stops at an item that is not an object. */
function publishedFormat(list: readonly unknown[]): number {
  const firstBad = list.findIndex((item) => !isRecord(item));
  const hasLength = (value: unknown, length: number): number => Number(Array.isArray(value) && value.length === length);
  return (firstBad < 0 ? list : list.slice(0, firstBad))
    .filter(isRecord)
    .reduce((sum, item) => sum + (hasLength(item.bbox_2d, 4) + hasLength(item.point_2d, 2)) / list.length, 0);
}

/** 0 unless every item has a box and a point; only the first 120 on either side count. */
function publishedAccuracy(
  list: readonly unknown[],
  truth: readonly TrueObject[],
  frame: Frame,
  thresholds: Thresholds,
): number {
  const found = list.map((item) => (isRecord(item) ? readObject(item, frame) : undefined));
  if (found.includes(undefined)) return 0;
  const predicted = found.filter((object) => object !== undefined).slice(0, MAX_OBJECTS);
  const longest = Math.max(predicted.length, truth.length);
  return longest === 0 ? 0 : bestMatching(predicted, truth, (p, t) => publishedMark(p, t, thresholds)) / longest;
}

function readObject(item: Record<string, unknown>, frame: Frame): Found | undefined {
  const { bbox_2d: box, point_2d: point } = item;
  if (!isNumbers<Box>(box, 4) || !isNumbers<[number, number]>(point, 2)) return undefined;
  return {
    box: [...readPoint([box[0], box[1]], frame), ...readPoint([box[2], box[3]], frame)],
    point: readPoint(point, frame),
  };
}

function publishedMark(predicted: Found, truth: TrueObject, thresholds: Thresholds): number {
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
  const size = (box: Box): number => (box[2] - box[0] + 1) * (box[3] - box[1] + 1);
  const width = Math.min(a[2], b[2]) - Math.max(a[0], b[0]) + 1;
  const height = Math.min(a[3], b[3]) - Math.max(a[1], b[1]) + 1;
  const intersection = Math.max(0, width) * Math.max(0, height);
  return intersection / (size(a) + size(b) - intersection);
}
