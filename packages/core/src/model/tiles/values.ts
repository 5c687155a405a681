/** What the tower reads of square tiles that lie one below the other. */
import type { Pixels } from '../images.ts';

/** The tiles of an image, row by row, and the image at the size of one of them, one below the other. */
export function stacked(laid: Pixels, thumbnail: Pixels): Pixels {
  const side = thumbnail.width;
  const columns = laid.width / side;
  const tiles = (laid.height / side) * columns;
  const data = new Uint8Array((tiles + 1) * side * side * 3);
  for (let row = 0; row < tiles * side; row++) {
    const [tile, y] = [Math.floor(row / side), row % side];
    const from = ((Math.floor(tile / columns) * side + y) * laid.width + (tile % columns) * side) * 3;
    data.set(laid.data.subarray(from, from + side * 3), row * side * 3);
  }
  data.set(thumbnail.data, tiles * side * side * 3);
  return { data, width: side, height: (tiles + 1) * side };
}

/** As a processor's file has it. */
interface Normalised {
  readonly image_mean: readonly number[];
  readonly image_std: readonly number[];
  readonly rescale_factor: number;
}

/** Of every byte: (x - mean / rescale) / (std / rescale), in float32 as the reference has it. */
export function normalisation({
  image_mean: mean,
  image_std: std,
  rescale_factor: factor,
}: Normalised): Float32Array[] {
  const { fround } = Math;
  const scale = fround(1 / factor);
  return mean.map((each, channel) => {
    const [centre, width] = [fround(fround(each) * scale), fround(fround(std[channel]!) * scale)];
    return Float32Array.from({ length: 256 }, (_, byte) => fround(fround(byte - centre) / width));
  });
}

/**
 * Writes [tiles, 3, side, side] from `offset` on.
 * @param values of every byte, by channel
 * @returns the place behind it
 */
export function writeTiles(
  { data, width, height }: Pixels,
  values: readonly Float32Array[],
  out: Float32Array,
  offset: number,
): number {
  const plane = width * width;
  for (let i = 0; i < width * height; i++) {
    const at = offset + Math.trunc(i / plane) * 3 * plane + (i % plane);
    for (const [channel, own] of values.entries()) out[at + channel * plane] = own[data[3 * i + channel]!]!;
  }
  return offset + width * height * 3;
}
