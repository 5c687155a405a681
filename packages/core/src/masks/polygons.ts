/**
 * Polygons to pixels, as the two libraries that published masks come from do it: they differ at the edges, by up to a
 * pixel on every side.
 */
import type { Point } from '../types.ts';
import { addRuns, type Mask } from './masks.ts';

/** How much finer than pixels COCO walks along an outline. */
const SCALE = 5;

/** Adds one polygon as COCO does (pycocotools, `rleFrPoly`). @param flat x, y, x, y, ... */
export function addCocoPolygon(mask: Mask, flat: readonly number[]): void {
  const { width, height } = mask;
  const outline = fineOutline(flat);
  const crossings: number[] = [];
  for (let i = 1; i < outline.length; i++) {
    const [[u, v], [before, above]] = [outline[i]!, outline[i - 1]!];
    if (u === before) continue;
    const x = ((u < before ? u : u - 1) + 0.5) / SCALE - 0.5;
    if (!Number.isInteger(x) || x < 0 || x > width - 1) continue;
    const y = ((v < above ? v : above) + 0.5) / SCALE - 0.5;
    crossings.push(x * height + Math.ceil(Math.min(height, Math.max(0, y))));
  }
  addRuns(mask, runsBetween([...crossings, width * height].sort((a, b) => a - b)));
}

/** Points along a closed outline, in fifths of a pixel. */
function fineOutline(flat: readonly number[]): [number, number][] {
  const corners: [number, number][] = [];
  for (let i = 0; i + 1 < flat.length; i += 2) {
    corners.push([Math.trunc(SCALE * flat[i]! + 0.5), Math.trunc(SCALE * flat[i + 1]! + 0.5)]);
  }
  return corners.flatMap((corner, i) => fineEdge(corner, corners[(i + 1) % corners.length]!));
}

function fineEdge(from: [number, number], to: [number, number]): [number, number][] {
  const [dx, dy] = [Math.abs(to[0] - from[0]), Math.abs(to[1] - from[1])];
  const along = dx >= dy ? 0 : 1;
  const length = Math.max(dx, dy);
  if (length === 0) return [from];
  const flip = from[along] > to[along];
  const [start, end] = flip ? [to, from] : [from, to];
  const slope = (end[1 - along]! - start[1 - along]!) / length;
  return Array.from({ length: length + 1 }, (_, step) => {
    const t = flip ? length - step : step;
    const across = Math.trunc(start[1 - along]! + slope * t + 0.5);
    return along === 0 ? [start[0] + t, across] : [across, start[1] + t];
  });
}

/** Places where inside and outside change, sorted, as runs; two changes at one place undo each other. */
function runsBetween(places: readonly number[]): number[] {
  const lengths = places.map((place, i) => place - (places[i - 1] ?? 0));
  const runs = [lengths[0]!];
  for (let i = 1; i < lengths.length;) {
    if (lengths[i]! > 0) runs.push(lengths[i++]!);
    else {
      i += 1;
      if (i < lengths.length) runs[runs.length - 1]! += lengths[i++]!;
    }
  }
  return runs;
}

const ONE = 2 ** 16;

/**
 * Paints a polygon and its outline, one pixel wide, as OpenCV does (`polylines`, then `fillPoly`); points are cut to
 * whole pixels, and edges that leave the picture are cut at its border.
 */
export function paintPolygon(mask: Mask, points: readonly Point[], value: number): void {
  const corners = points.map(([x, y]): Point => [Math.trunc(x), Math.trunc(y)]);
  const edges = corners.map((corner, i): readonly [Point, Point] => [corners.at(i - 1)!, corner]);
  const slanted = edges.flatMap(([from, to]) => {
    const { ends, isSeen } = cut([from, to], mask);
    if (isSeen) paintLine(mask, ends, value);
    if (from[1] === to[1]) return [];
    const [start, end] = ends[0][1] === ends[1][1] ? [from, to] : ends;
    const slope = Math.trunc(((ends[1][0] - ends[0][0]) * ONE) / (end[1] - start[1]));
    const [top, bottom, own] = from[1] < to[1] ? ([from[1], to[1], 0] as const) : ([to[1], from[1], 1] as const);
    return [{ top, bottom, slope, start: ends[own][0] * ONE + (top - (own === 0 ? start : end)[1]) * slope }];
  });
  for (let y = 0; y < mask.height; y++) {
    const crossings = slanted
      .filter(({ top, bottom }) => top <= y && y < bottom)
      .map(({ top, start, slope }) => start + (y - top) * slope)
      .sort((a, b) => a - b);
    for (let i = 0; i + 1 < crossings.length; i += 2) {
      const first = Math.max(0, Math.ceil(crossings[i]! / ONE));
      const last = Math.min(mask.width - 1, Math.floor(crossings[i + 1]! / ONE));
      if (first <= last) mask.data.fill(value, y * mask.width + first, y * mask.width + last + 1);
    }
  }
}

type Line = readonly [Point, Point];

/** The part of a line in the picture (OpenCV, `clipLine`), in whole pixels. */
function cut(line: Line, { width, height }: Mask): { readonly ends: Line; readonly isSeen: boolean } {
  const ends: [[number, number], [number, number]] = [[...line[0]], [...line[1]]];
  const most = [width - 1, height - 1];
  const side = (end: number, axis: number): number =>
    Number(ends[end]![axis]! > most[axis]!) - Number(ends[end]![axis]! < 0);
  const isBeyond = (): boolean => [0, 1].some((axis) => side(0, axis) !== 0 && side(0, axis) === side(1, axis));
  for (const axis of [1, 0]) {
    for (const end of [0, 1]) {
      if (isBeyond()) return { ends, isSeen: false };
      const where = side(end, axis);
      if (where === 0) continue;
      const border = where < 0 ? 0 : most[axis]!;
      const [a, b] = ends;
      const other = 1 - axis;
      const slope = b[other]! - a[other]!;
      ends[end]![other]! += Math.trunc(((border - ends[end]![axis]!) * slope) / (b[axis]! - a[axis]!));
      ends[end]![axis] = border;
    }
  }
  return { ends, isSeen: true };
}

/** Bresenham's line from left to right, both ends included. */
function paintLine({ width, data }: Mask, [from, to]: Line, value: number): void {
  const [[x0, y0], [x1, y1]] = from[0] <= to[0] ? [from, to] : [to, from];
  const [dx, dy] = [x1 - x0, Math.abs(y1 - y0)];
  const [long, short] = [Math.max(dx, dy), Math.min(dx, dy)];
  const down = y1 < y0 ? -1 : 1;
  let [x, y, error] = [x0, y0, long - 2 * short];
  for (let step = 0; step <= long; step++) {
    data[y * width + x] = value;
    const turns = error < 0;
    error += (turns ? 2 * long : 0) - 2 * short;
    if (dx >= dy || turns) x += 1;
    if (dx < dy || turns) y += down;
  }
}
