/**
 * Masks: pixels of a picture, and COCO's run lengths, which count down the columns and begin with pixels outside. The
 * compressed form writes the difference of a count and the one two before it (from the fourth on) in groups of five
 * bits, low ones first, bit 5 where more follow, sign in bit 4 of the last, each as the character of its value + 48
 * (pycocotools, maskApi.c).
 */
import { UserError } from '../errors.ts';
import type { Box } from '../types.ts';

export interface Mask {
  readonly width: number;
  readonly height: number;
  /** [height * width], row after row; what is not 0 is inside. */
  readonly data: Uint8Array;
}

/** COCO's form: `size` is height, width. */
export interface Rle {
  readonly size: readonly [number, number];
  readonly counts: string | readonly number[];
}

const MAX_PIXELS = 100e6;

export function emptyMask(width: number, height: number): Mask {
  if (!(width > 0 && height > 0 && width * height <= MAX_PIXELS)) {
    throw new UserError(`a mask of ${width} x ${height} pixels cannot be read`);
  }
  return { width, height, data: new Uint8Array(width * height) };
}

/** @throws UserError where characters or groups are none of the form's */
export function decodeCounts(text: string): number[] {
  const counts: number[] = [];
  for (let place = 0; place < text.length;) {
    let value = 0;
    let shift = 0;
    for (let more = true; more; shift += 5) {
      const group = text.charCodeAt(place++) - 48;
      if (!(group >= 0 && group < 64) || shift > 30) throw new UserError('the counts of the mask are damaged');
      value += (group & 0x1f) * 2 ** shift;
      more = (group & 0x20) !== 0;
      if (!more && (group & 0x10) !== 0) value -= 2 ** (shift + 5);
    }
    counts.push(counts.length > 2 ? value + counts.at(-2)! : value);
  }
  return counts;
}

export function encodeCounts(counts: readonly number[]): string {
  let text = '';
  counts.forEach((count, i) => {
    let rest = i > 2 ? count - counts[i - 2]! : count;
    for (let more = true; more;) {
      const group = rest & 0x1f;
      rest >>= 5;
      more = (group & 0x10) !== 0 ? rest !== -1 : rest !== 0;
      text += String.fromCharCode((more ? group | 0x20 : group) + 48);
    }
  });
  return text;
}

/** Runs of pixels outside and inside in turn, down the columns. */
export function countsOf({ width, height, data }: Mask): number[] {
  const counts = [0];
  let inside = false;
  for (let x = 0; x < width; x++) {
    for (let y = 0; y < height; y++) {
      if ((data[y * width + x] !== 0) !== inside) {
        inside = !inside;
        counts.push(0);
      }
      counts[counts.length - 1]! += 1;
    }
  }
  return counts;
}

/** Compressed, as predictions carry it. */
export const encodeRle = (mask: Mask): Rle & { readonly counts: string } => ({
  size: [mask.height, mask.width],
  counts: encodeCounts(countsOf(mask)),
});

/** @throws UserError where the counts do not fill the picture */
export function decodeRle({ size: [height, width], counts: given }: Rle): Mask {
  const mask = emptyMask(width, height);
  addRuns(mask, typeof given === 'string' ? decodeCounts(given) : given);
  return mask;
}

/** Sets what the runs have inside. @throws UserError where they do not fill the picture */
export function addRuns({ width, height, data }: Mask, counts: readonly number[]): void {
  const total = counts.reduce((sum, count) => sum + count, 0);
  if (total !== width * height || counts.some((count) => !Number.isInteger(count) || count < 0)) {
    throw new UserError(`the counts of the mask do not fill ${width} x ${height} pixels`);
  }
  let place = 0;
  counts.forEach((count, i) => {
    const end = place + count;
    if (i % 2 === 0) place = end;
    for (; place < end; place++) data[(place % height) * width + Math.floor(place / height)] = 1;
  });
}

/** Pixels of a mask, of what two share, and of what they cover together. */
export interface Overlap {
  readonly predicted: number;
  readonly intersection: number;
  readonly union: number;
}

/**
 * @param ignored value of pixels of the truth that leave both sides; unset: none
 * @throws UserError where the sizes differ
 */
export function overlapOf(predicted: Mask, truth: Mask, ignored?: number): Overlap {
  if (predicted.width !== truth.width || predicted.height !== truth.height) {
    const [own, other] = [predicted, truth].map(({ width, height }) => `${width} x ${height}`);
    throw new UserError(`the mask is ${own} pixels, the picture ${other}`, {
      remedy: 'Give masks the size of the original picture: "size" is [height, width].',
    });
  }
  let [area, intersection, union] = [0, 0, 0];
  truth.data.forEach((value, i) => {
    if (value === ignored) return;
    const isPredicted = predicted.data[i] !== 0;
    area += Number(isPredicted);
    intersection += Number(isPredicted && value !== 0);
    union += Number(isPredicted || value !== 0);
  });
  return { predicted: area, intersection, union };
}

/**
 * Smallest and largest column and row of a mask, both inside, so that one pixel has no extent; undefined where it is
 * empty.
 */
export function maskBox({ width, data }: Mask, isInside = (value: number): boolean => value !== 0): Box | undefined {
  let [x0, y0, x1, y1] = [Infinity, Infinity, -1, -1];
  data.forEach((value, i) => {
    if (!isInside(value)) return;
    const [x, y] = [i % width, Math.floor(i / width)];
    [x0, y0, x1, y1] = [Math.min(x0, x), Math.min(y0, y), Math.max(x1, x), Math.max(y1, y)];
  });
  return x1 < 0 ? undefined : [x0, y0, x1, y1];
}
