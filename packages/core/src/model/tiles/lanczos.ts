/**
 * Lanczos resampling (a = 3) with antialiasing on bytes, bit for bit as libtorch 2.13's `_upsample_lanczos2d_aa`: by that
 * operator, or by the same arithmetic where libtorch is older and lacks it.
 */
import { callOp, scope, tensor, TorchError, type Tensor } from '@visurf/torch';

import type { Pixels, Size } from '../images.ts';

/** Bits behind the point of a weight at most. */
const MOST_BITS = 22;
/** Of a weight as a whole number. */
const LIMIT = 1 << 15;

const sinc = (x: number): number => (x === 0 ? 1 : Math.sin(Math.PI * x) / (Math.PI * x));
const lanczos = (x: number): number => (Math.abs(x) < 3 ? sinc(x) * sinc(x / 3) : 0);

interface Weights {
  /** The first pixel that each pixel of the result is made of, and how much of it and those behind it. */
  readonly windows: readonly { readonly start: number; readonly shares: Int32Array }[];
  /** Bits behind the point of the shares. */
  readonly bits: number;
}

function weightsOf(from: number, to: number): Weights {
  const scale = from / to;
  const [support, shrink] = scale >= 1 ? [3 * scale, 1 / scale] : [3, 1];
  const windows = Array.from({ length: to }, (_, i) => {
    const centre = scale * (i + 0.5);
    const start = Math.max(Math.trunc(centre - support + 0.5), 0);
    const end = Math.min(Math.trunc(centre + support + 0.5), from);
    const raw = Array.from({ length: end - start }, (__, j) => lanczos((j + start - centre + 0.5) * shrink));
    const sum = raw.reduce((a, b) => a + b, 0);
    return { start, shares: raw.map((each) => each / sum) };
  });
  const largest = windows.reduce((most, { shares }) => Math.max(most, ...shares), 0);
  let bits = 0;
  while (bits < MOST_BITS && Math.trunc(0.5 + largest * 2 ** (bits + 1)) < LIMIT) bits++;
  const whole = (share: number): number => Math.trunc(share * 2 ** bits + (share < 0 ? -0.5 : 0.5));
  return { windows: windows.map(({ start, shares }) => ({ start, shares: Int32Array.from(shares, whole) })), bits };
}

/** One side of [outer, from, inner] at another length. */
function along(data: Uint8Array, outer: number, from: number, inner: number, to: number): Uint8Array {
  if (from === to) return data;
  const { windows, bits } = weightsOf(from, to);
  const half = 1 << (bits - 1);
  // Clamps, too.
  const out = new Uint8ClampedArray(outer * to * inner);
  for (let o = 0, at = 0; o < outer; o++) {
    for (const { start, shares } of windows) {
      const first = (o * from + start) * inner;
      for (let k = 0; k < inner; k++, at++) {
        let sum = half;
        for (let j = 0, source = first + k; j < shares.length; j++, source += inner) sum += data[source]! * shares[j]!;
        out[at] = sum >> bits;
      }
    }
  }
  return new Uint8Array(out.buffer);
}

/** Without libtorch's operator: rows first, as it does. */
export function resizeByHand({ data, width, height }: Pixels, to: Size): Pixels {
  const narrow = along(data, height, width, 3, to.width);
  return { data: along(narrow, 1, height, to.width * 3, to.height), width: to.width, height: to.height };
}

const operator = '_upsample_lanczos2d_aa';
let isThere = true;

/** Whether libtorch has the operator, as far as is known. */
export const hasOperator = (): boolean => isThere;

/** The image at another size, whatever its aspect. */
export function resizeLanczos(pixels: Pixels, { width, height }: Size): Pixels {
  if (width === pixels.width && height === pixels.height) return pixels;
  if (!isThere) return resizeByHand(pixels, { width, height });
  try {
    const data = scope(() => {
      const shape = [1, pixels.height, pixels.width, 3];
      const channelsFirst = tensor(pixels.data, { shape, device: 'cpu' }).permute(0, 3, 1, 2);
      const resized = callOp(operator, channelsFirst, [height, width], false, null, null) as Tensor;
      return resized.permute(0, 2, 3, 1).contiguous().toTypedArray() as Uint8Array;
    });
    return { data, width, height };
  } catch (error) {
    if (!(error instanceof TorchError) || !error.message.includes(operator)) throw error;
    isThere = false;
    return resizeByHand(pixels, { width, height });
  }
}
