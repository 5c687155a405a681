/**
 * Bilinear scaling without the tensor library: of pictures with antialiasing, bit for bit as Pillow's `BILINEAR` does it (before
 * version 13, which may begin with columns), and of maps of numbers without, as PyTorch's `interpolate(mode='bilinear', align_corners=False)`.
 */
import type { Pixels } from '../model/images.ts';

/** Bits behind the point of Pillow's weights. */
const PRECISION = 22;
const HALF = 2 ** (PRECISION - 1);

interface Window {
  readonly start: number;
  readonly weights: readonly number[];
}

/** Which pixels of a row become one of the scaled row, and with what weights: a triangle as wide as the scale. */
function windowsOf(from: number, to: number): Window[] {
  const scale = from / to;
  const support = Math.max(1, scale);
  return Array.from({ length: to }, (_, i) => {
    const centre = (i + 0.5) * scale;
    const start = Math.max(0, Math.trunc(centre - support + 0.5));
    const end = Math.min(from, Math.trunc(centre + support + 0.5));
    const raw = Array.from({ length: end - start }, (__, j) =>
      Math.max(0, 1 - Math.abs((start + j - centre + 0.5) / support)),
    );
    const sum = raw.reduce((total, weight) => total + weight, 0);
    return { start, weights: raw.map((weight) => Math.trunc((weight / sum) * 2 ** PRECISION + 0.5)) };
  });
}

/** The picture at another size, whatever its aspect. */
export function resizeBilinear(pixels: Pixels, { width, height }: { width: number; height: number }): Pixels {
  const narrow = width === pixels.width ? pixels.data : alongRows(pixels, width);
  const data = height === pixels.height ? narrow : alongColumns(narrow, width, pixels.height, height);
  return { data, width, height };
}

function alongRows({ data, width: from, height }: Pixels, width: number): Uint8Array {
  const out = new Uint8Array(width * height * 3);
  windowsOf(from, width).forEach(({ start, weights }, x) => {
    for (let y = 0; y < height; y++) {
      for (let channel = 0; channel < 3; channel++) {
        let sum = HALF;
        for (let j = 0, at = (y * from + start) * 3 + channel; j < weights.length; j++, at += 3) {
          sum += data[at]! * weights[j]!;
        }
        out[(y * width + x) * 3 + channel] = byteOf(sum);
      }
    }
  });
  return out;
}

function alongColumns(data: Uint8Array, width: number, from: number, height: number): Uint8Array {
  const row = width * 3;
  const out = new Uint8Array(row * height);
  windowsOf(from, height).forEach(({ start, weights }, y) => {
    for (let x = 0; x < row; x++) {
      let sum = HALF;
      for (let j = 0, at = start * row + x; j < weights.length; j++, at += row) sum += data[at]! * weights[j]!;
      out[y * row + x] = byteOf(sum);
    }
  });
  return out;
}

const byteOf = (sum: number): number => Math.min(255, Math.floor(sum / 2 ** PRECISION));

/** A map of numbers, row after row. */
export interface NumberMap {
  readonly data: Float32Array;
  readonly width: number;
  readonly height: number;
}

/** The map at another size, in float32. */
export function scaleMap({ data, width, height }: NumberMap, to: { width: number; height: number }): NumberMap {
  const [columns, rows] = [placesOf(width, to.width), placesOf(height, to.height)];
  const out = new Float32Array(to.width * to.height);
  let at = 0;
  for (const row of rows) {
    const [above, below] = [row.low * width, row.high * width];
    for (const { low, high, share } of columns) {
      const top = data[above + low]! * (1 - share) + data[above + high]! * share;
      const bottom = data[below + low]! * (1 - share) + data[below + high]! * share;
      out[at++] = top * (1 - row.share) + bottom * row.share;
    }
  }
  return { data: out, ...to };
}

const placesOf = (from: number, to: number): { low: number; high: number; share: number }[] =>
  Array.from({ length: to }, (_, i) => {
    const place = Math.max(0, ((i + 0.5) * from) / to - 0.5);
    const low = Math.min(from - 1, Math.floor(place));
    return { low, high: Math.min(from - 1, low + 1), share: place - low };
  });
