/** The strongest wrong answer that costs the policy nothing to give. */
import type { Frame, Terms } from '../../types.ts';

/** Side of the made-up box, in the model's coordinates. */
const SIDE = 1;

/**
 * A thought, then a well-formed list: a tiny box in one of the corners, or nothing. Chosen is what is least accurate,
 * then what has the better format; for a label with objects that is a box away from them, for an empty one any box.
 */
export function wrongAnswer(frame: Frame, points: boolean, termsOf: (text: string) => Terms): string {
  const { modelWidth: right, modelHeight: bottom } = frame;
  const corners = [0, right - SIDE].flatMap((x) => [0, bottom - SIDE].map((y) => [x, y] as const));
  const boxes = corners.map(([x, y]) => {
    const box = `"bbox_2d":[${x},${y},${x + SIDE},${y + SIDE}]`;
    return `[{${points ? `${box},"point_2d":[${x},${y}]` : box}}]`;
  });
  const candidates = [...boxes, '[]'].map((json) => {
    const text = `<think> wrong</think><answer>${json}</answer>`;
    const { accuracy = 0, format = 0 } = termsOf(text);
    return { text, accuracy, format };
  });
  return candidates.toSorted((a, b) => a.accuracy - b.accuracy || b.format - a.format)[0]!.text;
}
