/**
 * VLM-R1's published reward for referring expressions: the IoU of the first box of the answer, and one mark for a thought
 * before an answer that holds a box. One object, boxes alone.
 */
import type { Box, Frame, Terms } from '../../types.ts';
import { PYTHON_SPACE } from '../python.ts';
import { plainCharacters } from '../text.ts';
import { answerBlock, nonRepeat } from '../thinking.ts';
import { beforeAnswer } from '../weights.ts';
import { readPoint } from './answer.ts';
import type { GroundingTruth } from './truth.ts';

const NUMBER = String.raw`\p{Nd}+`;
const NEXT = `,[${PYTHON_SPACE}]*`;
const BOX = `\\[${[NUMBER, NUMBER, NUMBER, NUMBER].join(NEXT)}\\]`;
/** In this order, with anything between them. */
const PARTS = ['<think>', `</think>[${PYTHON_SPACE}]*<answer>`, String.raw`\{`, BOX, String.raw`\}`, '</answer>'].map(
  (part) => new RegExp(part, 'gu'),
);
const CORNERS = new RegExp(`\\[${Array.from({ length: 4 }, () => `(${NUMBER})`).join(NEXT)}\\]`, 'u');

export function vlmR1Terms(text: string, { objects: [truth] }: GroundingTruth, frame: Frame): Terms {
  const box = boxOf(text, frame);
  return {
    thinking: Number(hasParts(text)),
    format: Number(box !== undefined),
    accuracy: box && truth ? vlmR1Iou(box, truth.box) : 0,
    nonRepeat: nonRepeat(beforeAnswer(text)),
  };
}

/** The earliest place of every part leaves most room for the next. */
function hasParts(text: string): boolean {
  let from = 0;
  return PARTS.every((part) => {
    part.lastIndex = from;
    const found = part.exec(text);
    from = part.lastIndex;
    return found !== null;
  });
}

/** The first box of the answer, in pixels of the original picture. */
function boxOf(text: string, frame: Frame): Box | undefined {
  const [, ...corners] = CORNERS.exec(answerBlock(text) ?? '') ?? [];
  const [x0, y0, x1, y1] = corners.map((corner) => Number(plainCharacters(corner)));
  return y1 === undefined ? undefined : [...readPoint([x0!, y0!], frame), ...readPoint([x1!, y1], frame)];
}

/** IoU of boxes whose last row and column are outside; where they share less than two rows or columns, 0. */
export function vlmR1Iou(a: Box, b: Box): number {
  const [x0, y0] = [Math.max(a[0], b[0]), Math.max(a[1], b[1])];
  const [x1, y1] = [Math.min(a[2] - 1, b[2] - 1), Math.min(a[3] - 1, b[3] - 1)];
  const shared = x0 < x1 && y0 < y1 ? (x1 - x0 + 1) * (y1 - y0 + 1) : 0;
  const area = ([left, top, right, bottom]: Box): number => (right - left) * (bottom - top);
  const union = area(a) + area(b) - shared;
  // The published division by 0 is an error that leaves no reward.
  return union === 0 ? 0 : shared / union;
}
