/** Whether an answer points into a control: edges belong to it. */
import { contains } from '../tasks/grounding/geometry.ts';
import type { Box, Point } from '../types.ts';
import { readPointing } from './answers.ts';
import type { Marks, Protocol, Said } from './benchmark.ts';

export interface ClickMarks extends Marks {
  readonly hit: boolean;
  readonly point: Point | undefined;
}

const centre = ([x0, y0, x1, y1]: Box): Point => [(x0 + x1) / 2, (y0 + y1) / 2];
const wholeCentre = (box: Box): Point => centre(box).map(Math.trunc) as unknown as Point;

/**
 * Official: the first point of the answer, else the centre of its first box. visurf: any point, else the centre, in
 * whole pixels, of any box.
 */
export function markClick({ text, frame }: Said, control: Box, protocol: Protocol): ClickMarks {
  const { boxes, points } = readPointing(text, frame, protocol);
  const [point] = points.length > 0 ? points : boxes.map(centre);
  const tried =
    protocol === 'visurf'
      ? points.length > 0
        ? points
        : boxes.map(wholeCentre)
      : [point].filter((each) => each !== undefined);
  return { hit: tried.some((each) => contains(control, each)), point, parsed: tried.length > 0 };
}
