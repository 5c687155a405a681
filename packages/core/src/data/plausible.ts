/** Labels that are read without complaint and yet are not what their author meant: other units, other corners. */
import type { Frame, Sample } from '../types.ts';
import type { Finding } from './findings.ts';
import { Numbers } from './texts.ts';

type Corners = readonly [number, number, number, number];

/** A sample's boxes as its author wrote them, whatever they mean, and the size of its image. */
export interface Boxed {
  readonly sample: Sample;
  readonly boxes: readonly Corners[];
  readonly frame: Frame;
}

/** Fewer boxes than this say nothing about their units. */
const TELLING = 3;
const PIXELS = 'Boxes are in pixels of the original image';
/** An image with a side that is this long has room beyond 1000. */
const ROOMY = 1100;

/** Boxes in the solution of a sample, read leniently. */
export function boxesIn({ solution }: Pick<Sample, 'solution'>): Corners[] {
  let value: unknown;
  try {
    value = JSON.parse(solution);
  } catch {
    return [];
  }
  return (Array.isArray(value) ? (value as unknown[]) : [value]).flatMap((item): Corners[] => {
    const box: unknown = typeof item === 'object' && item !== null && 'bbox_2d' in item ? item.bbox_2d : undefined;
    const whole = Array.isArray(box) && box.length === 4 && box.every((each) => Number.isFinite(each));
    return whole ? [box as unknown as Corners] : [];
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
  if (!isOutside(boxed)) return { kind: 'label' };
  const { width, height } = boxed.frame;
  if (width === height || isOutside({ ...boxed, frame: { ...boxed.frame, width: height, height: width } }))
    return { kind: 'outside' };
  const hint = `it would lie in one of ${height} x ${width}: where EXIF turns the picture, data import turns its boxes, too`;
  return { kind: 'outside', hint };
}

/** What the boxes of a whole file have in common that pixels of images of that size would not. */
export class Plausibility {
  readonly #file: string;
  readonly #lines = new Numbers();
  #boxes = 0;
  /** What holds for all of them so far. */
  #all = { withinOne: true, withinThousand: true, seen: true, roomy: true, exchanged: true, sizes: true };
  /** What holds for one of them at least. */
  #any = { fraction: false, outside: false, inverted: false };

  constructor(file: string) {
    this.#file = file;
  }

  add(boxed: Boxed): void {
    const { boxes, frame, sample } = boxed;
    if (boxes.length === 0) return;
    this.#lines.push(sample.source.line);
    this.#boxes += boxes.length;
    const [all, any] = [this.#all, this.#any];
    const within = (most: number): boolean => boxes.every((box) => box.every((each) => each >= 0 && each <= most));
    all.withinOne &&= within(1);
    all.withinThousand &&= within(1000);
    all.seen &&= frame.width > 2 && frame.height > 2;
    all.roomy &&= isRoomy(boxed);
    all.exchanged &&= !isOutside(exchanged(boxed));
    all.sizes &&= holdsAsSize(boxed);
    any.fraction ||= boxes.some((box) => box.some((each) => !Number.isInteger(each)));
    any.outside ||= isOutside(boxed);
    any.inverted ||= isInverted(boxed);
  }

  findings(): Finding[] {
    const [all, any, count] = [this.#all, this.#any, this.#boxes];
    if (count === 0) return [];
    const found = (kind: Finding['kind'], severity: Finding['severity'], message: string): Finding[] => [
      { file: this.#file, lines: [...this.#lines.values], kind, severity, message: `${boxesOf(count)} ${message}` },
    ];
    if (all.withinOne && all.seen) {
      return found('units', any.fraction ? 'error' : 'warning', `lie within 0..1: shares of the picture? ${PIXELS}`);
    }
    if (all.withinThousand && count >= TELLING && (any.outside || all.roomy)) {
      return found('units', 'warning', `lie within 0..1000: thousandths of the picture? ${PIXELS}`);
    }
    if (any.outside && count >= TELLING && all.exchanged) {
      const message = 'would lie in their images as [y0, x0, y1, x1], and some do not as [x0, y0, x1, y1]';
      return found('axes', 'warning', message);
    }
    if (any.inverted && count >= TELLING && all.sizes) {
      const message = 'would lie in their images as [x, y, width, height], and some have no area as [x0, y0, x1, y1]';
      return found('xywh', 'warning', message);
    }
    return [];
  }
}

/** The box with x and y in each other's place. */
const exchanged = (boxed: Boxed): Boxed => ({
  ...boxed,
  boxes: boxed.boxes.map(([x0, y0, x1, y1]): Corners => [y0, x0, y1, x1]),
});

const isRoomy = ({ frame }: Boxed): boolean => Math.max(frame.width, frame.height) >= ROOMY;
const boxesOf = (count: number): string => (count === 1 ? 'the only box' : `all ${count} boxes`);
