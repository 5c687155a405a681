/** What the text of an answer says: boxes and points, or words. */
import { isRecord, parseAnswer } from '../tasks/grounding/answer.ts';
import { boxedContent } from '../tasks/math/boxed.ts';
import { answerBlock } from '../tasks/thinking.ts';
import type { Box, Frame, Point } from '../types.ts';
import type { Protocol } from './benchmark.ts';

/** In pixels of the original picture. */
export interface Pointing {
  /** A list of things that have a box or a point, or none; nothing else. */
  readonly parsed: boolean;
  readonly boxes: readonly Box[];
  readonly points: readonly Point[];
}

/** More things than any picture has; to measure what they cover takes time. */
const MOST = 1000;

const NOTHING: Pointing = { parsed: false, boxes: [], points: [] };

export function readPointing(text: string, frame: Frame, protocol: Protocol): Pointing {
  return protocol === 'visurf' ? readPublished(text, frame) : readOwn(text, frame);
}

/**
 * What a segmentation model is asked to draw: every box with its point. In the published code boxes that are not as many as
 * their points are drawn and never merged.
 */
export function drawn(text: string, frame: Frame, protocol: Protocol): { box: Box; points: readonly Point[] }[] {
  if (protocol === 'official') {
    return (parseAnswer(text, frame) ?? []).flatMap(({ box, point }) =>
      box === undefined ? [] : [{ box, points: point === undefined ? [] : [point] }],
    );
  }
  const { boxes, points } = readPublished(text, frame);
  return boxes.length === points.length ? boxes.map((box, i) => ({ box, points: [points[i]!] })) : [];
}

function readOwn(text: string, frame: Frame): Pointing {
  const objects = parseAnswer(text, frame);
  if (objects === undefined) return NOTHING;
  return {
    parsed: objects.every(({ box, point }) => box !== undefined || point !== undefined),
    boxes: objects.flatMap(({ box }) => (box === undefined ? [] : [box])),
    points: objects.flatMap(({ point }) => (point === undefined ? [] : [point])),
  };
}

/**
 * As the published code reads: JSON alone between the tags, whole pixels; one object without a box leaves no boxes, one
 * without a point no points.
 */
function readPublished(text: string, frame: Frame): Pointing {
  const block = /<answer>(.*?)<\/answer>/s.exec(text)?.[1]?.trim();
  let list: unknown;
  try {
    list = JSON.parse(block ?? '');
  } catch {
    return NOTHING;
  }
  if (!Array.isArray(list)) return NOTHING;
  if (list.length > MOST) return NOTHING;
  const items: readonly unknown[] = list;
  const boxes = items.map((item) => numbersOf(item, 'bbox_2d', 4));
  const points = items.map((item) => numbersOf(item, 'point_2d', 2));
  const read = <T>(all: readonly (number[] | undefined)[]): T[] =>
    all.includes(undefined) ? [] : (all.map((numbers) => wholePixels(numbers!, frame)) as T[]);
  const parsed = !boxes.includes(undefined) || !points.includes(undefined);
  return { parsed, boxes: read<Box>(boxes), points: read<Point>(points) };
}

/** The first `count` numbers of a field; undefined where there are fewer. */
function numbersOf(item: unknown, field: string, count: number): number[] | undefined {
  const value = isRecord(item) ? item[field] : undefined;
  const numbers = Array.isArray(value) ? (value as unknown[]).slice(0, count) : [];
  const isWhole = numbers.length === count && numbers.every((each) => Number.isFinite(each));
  return isWhole ? (numbers as number[]) : undefined;
}

/** x, y, ... of the text in whole pixels of the original picture: `int(v * original / model + 0.5)`. */
export const wholePixels = (numbers: readonly number[], frame: Frame): number[] =>
  numbers.map((value, i) => {
    const [original, model] = i % 2 === 0 ? [frame.width, frame.modelWidth] : [frame.height, frame.modelHeight];
    return Math.trunc((value * original) / model + 0.5);
  });

/** The words of an answer: of its answer block, else of its last `\boxed{}`, else what follows the thought, trimmed. */
export function spoken(text: string): string {
  const tagged = answerBlock(text) ?? boxedContent(text);
  if (tagged !== undefined) return tagged.trim();
  const rest = text.split('</think>').at(-1)!;
  return /<think>|<answer>/.test(rest) ? '' : rest.trim();
}
