/**
 * Learned positions of a square table, for images of any grid: bilinear, corners on corners, in float32 as the reference
 * has it. Plain arrays: no tensors here.
 */
import type { Grid } from '../types.ts';

/** One of four neighbours of every patch. */
export interface Taps {
  /** [N]: rows of the flattened table. */
  readonly rows: number[];
  /** [N] */
  readonly weights: Float32Array;
}

/** Two rows of the table between which place `index` of `size` falls, with their weights. */
function neighbours(index: number, size: number, side: number): readonly { row: number; weight: number }[] {
  const at = Math.fround((index * (side - 1)) / Math.max(size - 1, 1));
  const first = Math.floor(at);
  const rest = Math.fround(1 - Math.fround(at - first));
  return [
    { row: first, weight: rest },
    { row: Math.min(first + 1, side - 1), weight: Math.fround(1 - rest) },
  ];
}

/**
 * @param grids [t, h, w] in patches
 * @param side rows and columns of the table
 * @param merge side of the blocks in whose order patches come
 * @returns four neighbours each; frames of a video have the same
 */
export function interpolated(grids: readonly Grid[], side: number, merge: number): readonly Taps[] {
  const patches = grids.reduce((sum, [t, h, w]) => sum + t * h * w, 0);
  const taps = Array.from({ length: 4 }, (): Taps => ({ rows: [], weights: new Float32Array(patches) }));
  let at = 0;
  for (const [time, height, width] of grids) {
    const [down, across] = [height, width].map((size) =>
      Array.from({ length: size }, (_, i) => neighbours(i, size, side)),
    );
    const write = (row: number, column: number): void => {
      taps.forEach(({ rows, weights }, i) => {
        const [y, x] = [down![row]![i >> 1]!, across![column]![i & 1]!];
        rows.push(y.row * side + x.row);
        weights[at] = y.weight * x.weight;
      });
      at++;
    };
    for (let frame = 0; frame < time; frame++) {
      for (let top = 0; top < height; top += merge) {
        for (let left = 0; left < width; left += merge) {
          for (let i = 0; i < merge * merge; i++) write(top + Math.floor(i / merge), left + (i % merge));
        }
      }
    }
  }
  return taps;
}
