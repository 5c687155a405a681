/**
 * M-RoPE positions of a prompt (arXiv 2409.12191, section 2.1; `get_rope_index` of the reference).
 *
 * Text counts up in all three axes. An image that begins at position p has, for the token in row i and column j of its
 * merged grid, time p, height p + i, width p + j; a video in addition time p + floor(k interval) in its temporal patch k.
 * What follows continues behind the longer side of the grid: time does not count, so a video may reach further than the
 * text behind it.
 */
import { invariant } from '../errors.ts';
import type { Grid } from '../types.ts';

export type Positions = readonly [readonly number[], readonly number[], readonly number[]];

/** Videos of a prompt, and the token that stands for them. */
export interface VideoPlaces {
  readonly id: number;
  /** [t, h, w] in patches, one per video. */
  readonly gridThw: readonly Grid[];
  /** Positions between two temporal patches, one per video. */
  readonly intervals: readonly number[];
}

/** One token after the other, the same on all three axes. @returns [3][L] */
export function sequencePositions(length: number): Positions {
  const positions = Array.from({ length }, (_, i) => i);
  return [positions, positions, positions];
}

/**
 * @param inputIds [L], placeholders expanded
 * @param imageGridThw [t, h, w] in patches, one per image
 * @returns [3][L]
 */
export function promptPositions(
  inputIds: readonly number[],
  imageGridThw: readonly Grid[],
  { imageId, mergeSize, videos }: { imageId: number; mergeSize: number; videos?: VideoPlaces | undefined },
): Positions {
  const time: number[] = [];
  const height: number[] = [];
  const width: number[] = [];
  let next = 0;
  const [images, clips] = [imageGridThw.values(), videos?.gridThw.entries()];
  const visual = (id: number | undefined): { grid: Grid; interval: number } | undefined => {
    if (id === undefined || (id !== imageId && id !== videos?.id)) return undefined;
    if (id === imageId) {
      const grid = images.next().value;
      invariant(grid, 'every run of image tokens has a grid');
      return { grid, interval: 1 };
    }
    const clip = clips?.next().value;
    invariant(clip, 'every run of video tokens has a grid');
    return { grid: clip[1], interval: videos?.intervals[clip[0]] ?? 1 };
  };
  for (let i = 0; i < inputIds.length;) {
    const found = visual(inputIds[i]);
    if (!found) {
      for (const axis of [time, height, width]) axis.push(next);
      next++;
      i++;
      continue;
    }
    const { grid, interval } = found;
    const [t, rows, columns] = [grid[0], grid[1] / mergeSize, grid[2] / mergeSize];
    for (let k = 0; k < t * rows * columns; k++) {
      // The reference multiplies in float32.
      time.push(next + Math.trunc(Math.fround(Math.floor(k / (rows * columns)) * interval)));
      height.push(next + (Math.floor(k / columns) % rows));
      width.push(next + (k % columns));
    }
    next += Math.max(rows, columns);
    i += t * rows * columns;
  }
  invariant(time.length === inputIds.length, 'image tokens match the grids');
  return [time, height, width];
}
