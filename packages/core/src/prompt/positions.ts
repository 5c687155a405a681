/**
 * M-RoPE positions of a prompt (Qwen2-VL, section 2.1; `get_rope_index` of the reference, for text and images).
 *
 * Text counts up in all three axes. An image that begins at position p has, for the token in row i and column j of its
 * merged grid, time p, height p + i, width p + j; what follows continues at the maximum + 1.
 */
import { invariant } from '../errors.ts';

export type Positions = readonly [readonly number[], readonly number[], readonly number[]];

/**
 * @param inputIds [L], image placeholders expanded
 * @param imageGridThw [t, h, w] in patches, one per image
 * @returns [3][L]
 */
export function promptPositions(
  inputIds: readonly number[],
  imageGridThw: readonly (readonly [number, number, number])[],
  { imageId, mergeSize }: { imageId: number; mergeSize: number },
): Positions {
  const time: number[] = [];
  const height: number[] = [];
  const width: number[] = [];
  let next = 0;
  let image = 0;
  for (let i = 0; i < inputIds.length;) {
    if (inputIds[i] !== imageId) {
      for (const axis of [time, height, width]) axis.push(next);
      next++;
      i++;
      continue;
    }
    const grid = imageGridThw[image++];
    invariant(grid, 'every run of image tokens has a grid');
    const [t, rows, columns] = [grid[0], grid[1] / mergeSize, grid[2] / mergeSize];
    for (let k = 0; k < t * rows * columns; k++) {
      time.push(next + Math.floor(k / (rows * columns)));
      height.push(next + (Math.floor(k / columns) % rows));
      width.push(next + (k % columns));
    }
    next += Math.max(t, rows, columns);
    i += t * rows * columns;
  }
  invariant(time.length === inputIds.length, 'image tokens match the grids');
  return [time, height, width];
}
