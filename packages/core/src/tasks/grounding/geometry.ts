/** Areas and overlaps of boxes and of unions of boxes. A box with a negative extent covers nothing. */
import type { Box, Frame, Point } from '../../types.ts';

/** Length of the overlap of the intervals [a0, a1] and [b0, b1]; 0 if they are disjoint. */
const overlap = (a0: number, a1: number, b0: number, b1: number): number =>
  Math.max(0, Math.min(a1, b1) - Math.max(a0, b0));

const area = ([x0, y0, x1, y1]: Box): number => Math.max(0, x1 - x0) * Math.max(0, y1 - y0);

/** Intersection over union of two boxes; 0 where both cover nothing. */
export function iou(a: Box, b: Box): number {
  const intersection = overlap(a[0], a[2], b[0], b[2]) * overlap(a[1], a[3], b[1], b[3]);
  const union = area(a) + area(b) - intersection;
  return union > 0 ? intersection / union : 0;
}

/** The part of a box that lies in the picture; of one beside it a box without area, at the edge. */
export function clip([x0, y0, x1, y1]: Box, { width, height }: Pick<Frame, 'width' | 'height'>): Box {
  const within = (value: number, most: number): number => Math.min(most, Math.max(0, value));
  return [within(x0, width), within(y0, height), within(x1, width), within(y1, height)];
}

/** Mean absolute difference of the four coordinates. */
export function boxDistance(a: Box, b: Box): number {
  return a.reduce((sum, value, i) => sum + Math.abs(value - b[i]!), 0) / 4;
}

export function pointDistance(a: Point, b: Point): number {
  return Math.hypot(a[0] - b[0], a[1] - b[1]);
}

/** Edges belong to the box. */
export function contains(box: Box, point: Point): boolean {
  return point[0] >= box[0] && point[0] <= box[2] && point[1] >= box[1] && point[1] <= box[3];
}

/** Length of the union of intervals. */
function coveredLength(intervals: readonly (readonly [number, number])[]): number {
  let covered = 0;
  let reached = -Infinity;
  for (const [start, end] of intervals.toSorted((a, b) => a[0] - b[0])) {
    covered += Math.max(0, end - Math.max(start, reached));
    reached = Math.max(reached, end);
  }
  return covered;
}

/** Area of the union of boxes, exact: the plane is cut at every x, and each strip holds a union of intervals. */
export function coveredArea(boxes: readonly Box[]): number {
  const solid = boxes.filter((box) => area(box) > 0);
  const cuts = [...new Set(solid.flatMap(([x0, , x1]) => [x0, x1]))].sort((a, b) => a - b);
  let total = 0;
  for (const [i, x0] of cuts.slice(0, -1).entries()) {
    const x1 = cuts[i + 1]!;
    const strip = solid.filter((box) => box[0] <= x0 && box[2] >= x1);
    total += (x1 - x0) * coveredLength(strip.map((box) => [box[1], box[3]]));
  }
  return total;
}

/** Intersection over union of what two sets of boxes cover; 0 where both cover nothing. */
export function unionIou(a: readonly Box[], b: readonly Box[]): number {
  const union = coveredArea([...a, ...b]);
  if (union === 0) return 0;
  return Math.max(0, coveredArea(a) + coveredArea(b) - union) / union;
}

/** A point of the original image in the model's whole coordinates, rounded half up, kept inside the image. */
export function toModel([x, y]: Point, frame: Frame): [number, number] {
  const scale = (value: number, from: number, to: number): number =>
    Math.min(to, Math.max(0, Math.floor((value * to) / from + 0.5)));
  return [scale(x, frame.width, frame.modelWidth), scale(y, frame.height, frame.modelHeight)];
}

/** A point in the model's coordinates in pixels of the original image, not rounded. */
export function toOriginal([x, y]: Point, frame: Frame): [number, number] {
  return [(x * frame.width) / frame.modelWidth, (y * frame.height) / frame.modelHeight];
}

/** The box around boxes, of which there may be any number. */
export const hull = (boxes: readonly Box[]): Box =>
  boxes.reduce<Box>(
    ([ax0, ay0, ax1, ay1], [bx0, by0, bx1, by1]) => [
      Math.min(ax0, bx0),
      Math.min(ay0, by0),
      Math.max(ax1, bx1),
      Math.max(ay1, by1),
    ],
    [Infinity, Infinity, -Infinity, -Infinity],
  );
