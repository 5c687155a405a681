/** Boxes of any convention to corners in pixels of the upright picture. */
import type { BoxForm, LabelledBox, Numbers, Size } from './record.ts';

/** [x0, y0, x1, y1] */
export function toCorners([a, b, c, d]: Numbers, form: BoxForm): Numbers {
  if (form === 'xywh') return [a, b, a + c, b + d];
  if (form === 'cxcywh') return [a - c / 2, b - d / 2, a + c / 2, b + d / 2];
  return [a, b, c, d];
}

export const scaled = ([x0, y0, x1, y1]: Numbers, x: number, y: number): Numbers => [x0 * x, y0 * y, x1 * x, y1 * y];

/**
 * A place of the stored picture where the viewer sees it.
 * @param orientation of EXIF, 1 to 8
 * @param stored the size as stored
 */
export function turnPoint(
  [x, y]: readonly [number, number],
  orientation: number,
  { width, height }: Size,
): [number, number] {
  const [w, h] = [width - x, height - y];
  const places: [number, number][] = [
    ...([
      [x, y],
      [w, y],
      [w, h],
      [x, h],
    ] as [number, number][]),
    ...([
      [y, x],
      [h, x],
      [h, w],
      [y, w],
    ] as [number, number][]),
  ];
  return places[orientation - 1] ?? [x, y];
}

export function turnBox([x0, y0, x1, y1]: Numbers, orientation: number, stored: Size): Numbers {
  return hull([turnPoint([x0, y0], orientation, stored), turnPoint([x1, y1], orientation, stored)])!;
}

export const upright = ({ width, height }: Size, orientation: number): Size =>
  orientation >= 5 ? { width: height, height: width } : { width, height };

/** The smallest box around points. */
export function hull(points: readonly (readonly [number, number])[]): Numbers | undefined {
  if (points.length === 0) return undefined;
  const box: [number, number, number, number] = [Infinity, Infinity, -Infinity, -Infinity];
  for (const [x, y] of points) {
    box[0] = Math.min(box[0], x);
    box[1] = Math.min(box[1], y);
    box[2] = Math.max(box[2], x);
    box[3] = Math.max(box[3], y);
  }
  return box.every((each) => Number.isFinite(each)) ? box : undefined;
}

/** An outline as a box, and as the mask that it fills where it has an area. */
export function outlineOf(
  points: readonly (readonly [number, number])[],
): Pick<LabelledBox, 'numbers' | 'mask'> | undefined {
  const numbers = hull(points);
  if (!numbers) return undefined;
  return points.length < 3 ? { numbers } : { numbers, mask: [points.flat()] };
}

/** Points of `[x, y, x, y, ...]`. */
export function pointsOf(flat: readonly unknown[]): [number, number][] {
  const numbers = flat.map(Number);
  return Array.from({ length: numbers.length >> 1 }, (_, i) => [numbers[2 * i]!, numbers[2 * i + 1]!]);
}

/**
 * The box around a COCO run-length mask: runs of 0 and 1 in turn, down the columns.
 * @param counts runs, or COCO's text for them
 * @param height of the mask
 */
export function maskBox(counts: readonly unknown[] | string, height: number): Numbers | undefined {
  const runs = typeof counts === 'string' ? unpackRuns(counts) : counts.map(Number);
  const corners: [number, number][] = [];
  let at = 0;
  for (const [i, run] of runs.entries()) {
    if (!(run >= 0)) return undefined;
    if (i % 2 === 1 && run > 0) {
      const last = at + run - 1;
      const [x0, x1] = [Math.floor(at / height), Math.floor(last / height)];
      const [y0, y1] = x0 === x1 ? [at % height, last % height] : [0, height - 1];
      corners.push([x0, y0], [x1 + 1, y1 + 1]);
    }
    at += run;
  }
  return hull(corners);
}

/** COCO's packing: five bits a character, from 48, low bits first; from the third on, differences to the run two before. */
function unpackRuns(text: string): number[] {
  const runs: number[] = [];
  for (let at = 0; at < text.length;) {
    let [value, shift, more] = [0, 0, true];
    while (more && at < text.length) {
      const code = text.charCodeAt(at++) - 48;
      value += (code & 31) * 2 ** shift;
      shift += 5;
      more = (code & 32) !== 0;
      if (!more && (code & 16) !== 0) value -= 2 ** shift;
    }
    runs.push(value + (runs.length > 2 ? runs[runs.length - 2]! : 0));
  }
  return runs;
}
