/** What a response of the grounding task says: untrusted text, read without exceptions and within limits. */
import type { Box, Frame, Point } from '../../types.ts';
import { answerBlock } from '../thinking.ts';
import { toOriginal } from './geometry.ts';

/** More objects than any label may have make an answer malformed. */
export const MAX_OBJECTS = 120;
/** Characters of an answer block; 120 objects in the widest surface form take a third. */
const MAX_ANSWER_LENGTH = 32_768;
/** Coordinates of the model further out are kept here: beside any picture, and sums and products of them are finite. */
const FAR = 1e6;

/** One item of an answer, in pixels of the original image; undefined: absent or not the right count of numbers. */
export interface PredictedObject {
  readonly box: Box | undefined;
  readonly point: Point | undefined;
}

export function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** True for a list of exactly `count` finite numbers. */
export function isNumbers<T extends readonly number[]>(value: unknown, count: T['length']): value is T {
  return Array.isArray(value) && value.length === count && value.every((item) => Number.isFinite(item));
}

/** The text of the list: the answer block without white space around it and without its fence. */
export function answerJson(text: string): string | undefined {
  const block = answerBlock(text);
  if (block === undefined || block.length > MAX_ANSWER_LENGTH) return undefined;
  const trimmed = block.trim();
  const fenced = trimmed.startsWith('```') && trimmed.endsWith('```') && trimmed.length >= 6;
  return fenced
    ? trimmed
        .slice(3, -3)
        .replace(/^json\b/, '')
        .trim()
    : trimmed;
}

/** A single object stands for the list of it. */
export const asList = (value: unknown): unknown =>
  isRecord(value) && ('bbox_2d' in value || 'point_2d' in value) ? [value] : value;

/** The objects of a response in its order; undefined where its answer is neither a list of at most 120 items nor one. */
export function parseAnswer(text: string, frame: Frame): readonly PredictedObject[] | undefined {
  const json = answerJson(text);
  if (json === undefined) return undefined;
  let list: unknown;
  try {
    list = asList(JSON.parse(json));
  } catch {
    return undefined;
  }
  if (!Array.isArray(list) || list.length > MAX_OBJECTS) return undefined;
  return list.map((item: unknown) => predictedObject(item, frame));
}

function predictedObject(item: unknown, frame: Frame): PredictedObject {
  const { bbox_2d: box, point_2d: point } = isRecord(item) ? item : {};
  return {
    box: isNumbers<Box>(box, 4)
      ? [...readPoint([box[0], box[1]], frame), ...readPoint([box[2], box[3]], frame)]
      : undefined,
    point: isNumbers<Point>(point, 2) ? readPoint(point, frame) : undefined,
  };
}

/** In pixels of the original image, finite whatever was said. */
export function readPoint([x, y]: Point, frame: Frame): [number, number] {
  const within = (value: number): number => Math.min(FAR, Math.max(-FAR, value));
  return toOriginal([within(x), within(y)], frame);
}

/** A list in which every item has the fields that are asked for; the empty list is one. */
export function isWellFormed(
  objects: readonly PredictedObject[] | undefined,
  points: boolean,
): objects is readonly PredictedObject[] {
  return objects?.every(({ box, point }) => box !== undefined && (!points || point !== undefined)) ?? false;
}
