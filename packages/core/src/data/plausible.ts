/** Labels that are read without complaint and yet are not what their author meant: other units, other corners. */
import type { Frame, Sample } from '../types.ts';
import type { Finding } from './findings.ts';

type Numbers = readonly [number, number, number, number];

/** A sample's boxes as its author wrote them, whatever they mean, and the size of its image. */
export interface Boxed {
  readonly sample: Sample;
  readonly boxes: readonly Numbers[];
  readonly frame: Frame;
}

/** Fewer boxes than this say nothing about their units. */
const TELLING = 3;
const PIXELS = 'Boxes are in pixels of the original image';
/** An image with a side that is this long has room beyond 1000. */
const ROOMY = 1100;

/** Boxes in the solution of a sample, read leniently. */
export function boxesIn({ solution }: Pick<Sample, 'solution'>): Numbers[] {
  let value: unknown;
  try {
    value = JSON.parse(solution);
  } catch {
    return [];
  }
  return (Array.isArray(value) ? (value as unknown[]) : [value]).flatMap((item): Numbers[] => {
    const box: unknown = typeof item === 'object' && item !== null && 'bbox_2d' in item ? item.bbox_2d : undefined;
    const whole = Array.isArray(box) && box.length === 4 && box.every((each) => Number.isFinite(each));
    return whole ? [box as unknown as Numbers] : [];
  });
}

const isOutside = ({ boxes, frame }: Boxed): boolean =>
  boxes.some(([x0, y0, x1, y1]) => Math.min(x0, y0, x1, y1) < 0 || x1 > frame.width || y1 > frame.height);

const isInverted = ({ boxes }: Boxed): boolean => boxes.some(([x0, y0, x1, y1]) => x0 >= x1 || y0 >= y1);

/** Whether every box lies in the image if it is corner, width and height. */
const holdsAsSize = ({ boxes, frame }: Boxed): boolean =>
  boxes.every(([x, y, w, h]) => x >= 0 && y >= 0 && w > 0 && h > 0 && x + w <= frame.width && y + h <= frame.height);

/** Why a label that its task refuses is refused, as far as its boxes tell. */
export function labelKind(boxed: Boxed): { readonly kind: Finding['kind']; readonly hint?: string } {
  if (isInverted(boxed) && holdsAsSize(boxed)) {
    return { kind: 'xywh', hint: 'as [x, y, width, height] it would lie in the image: write [x0, y0, x1, y1]' };
  }
  return { kind: isOutside(boxed) ? 'outside' : 'label' };
}

/** What the boxes of a whole file have in common that pixels of images of that size would not. */
export function implausible(file: string, all: readonly Boxed[]): Finding[] {
  const boxed = all.filter(({ boxes }) => boxes.length > 0);
  if (boxed.length === 0) return [];
  const lines = boxed.map(({ sample }) => sample.source.line);
  const numbers = boxed.flatMap(({ boxes }) => boxes.flat());
  const count = numbers.length / 4;
  const found = { file, lines };
  const within = (most: number): boolean => numbers.every((each) => each >= 0 && each <= most);
  if (within(1) && boxed.every(({ frame }) => frame.width > 2 && frame.height > 2)) {
    const shares = numbers.some((each) => !Number.isInteger(each));
    const message = `${boxesOf(count)} lie within 0..1: shares of the picture? ${PIXELS}`;
    return [{ ...found, kind: 'units', severity: shares ? 'error' : 'warning', message }];
  }
  if (within(1000) && count >= TELLING && (boxed.some(isOutside) || boxed.every(isRoomy))) {
    const message = `${boxesOf(count)} lie within 0..1000: thousandths of the picture? ${PIXELS}`;
    return [{ ...found, kind: 'units', severity: 'warning', message }];
  }
  const outside = boxed.filter(isOutside);
  if (outside.length > 0 && count >= TELLING && boxed.every((each) => !isOutside(exchanged(each)))) {
    const message = `${boxesOf(count)} would lie in their images as [y0, x0, y1, x1], and some do not as [x0, y0, x1, y1]`;
    return [{ ...found, kind: 'axes', severity: 'warning', message }];
  }
  const inverted = boxed.filter(isInverted);
  if (inverted.length > 0 && count >= TELLING && boxed.every(holdsAsSize)) {
    const message =
      `${boxesOf(count)} would lie in their images as [x, y, width, height], ` +
      'and some have no area as [x0, y0, x1, y1]';
    return [{ ...found, kind: 'xywh', severity: 'warning', message }];
  }
  return [];
}

/** The box with x and y in each other's place. */
const exchanged = (boxed: Boxed): Boxed => ({
  ...boxed,
  boxes: boxed.boxes.map(([x0, y0, x1, y1]): Numbers => [y0, x0, y1, x1]),
});

const isRoomy = ({ frame }: Boxed): boolean => Math.max(frame.width, frame.height) >= ROOMY;
const boxesOf = (count: number): string => (count === 1 ? 'the only box' : `all ${count} boxes`);
