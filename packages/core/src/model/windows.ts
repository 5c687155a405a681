/**
 * Which patches of the vision tower attend to which. Patches come in merge units (2 x 2) row by row; windowed blocks
 * see them window by window, and the last window of a row or column may be smaller. Windows and full attention never
 * cross images or frames. Plain arrays: no tensors here.
 */
import type { Grid } from '../types.ts';
import type { VisionConfig } from './vision-config.ts';

export interface WindowPlan {
  /** [N / unit]: the merge unit that stands at each place of the window order. */
  readonly order: readonly number[];
  /** [N]: row and column of every patch, in window order. */
  readonly positions: readonly (readonly [number, number])[];
  /** Lengths in patches of consecutive runs that attend within themselves. */
  readonly windows: readonly number[];
  readonly frames: readonly number[];
}

/** The plan of images [t, h, w] in patches. */
export function planWindows(grids: readonly Grid[], config: VisionConfig): WindowPlan {
  const merge = config.spatialMergeSize;
  const side = Math.floor(config.windowSize / merge / config.patchSize);
  const order: number[] = [];
  const positions: [number, number][] = [];
  const windows: number[] = [];
  const frames: number[] = [];
  let base = 0;
  for (const [time, height, width] of grids) {
    const [rows, columns] = [height / merge, width / merge];
    for (let frame = 0; frame < time; frame++, base += rows * columns) {
      frames.push(height * width);
      for (let top = 0; top < rows; top += side) {
        for (let left = 0; left < columns; left += side) {
          const before = order.length;
          for (let row = top; row < Math.min(top + side, rows); row++) {
            for (let column = left; column < Math.min(left + side, columns); column++) {
              order.push(base + row * columns + column);
              for (let i = 0; i < merge * merge; i++) {
                positions.push([row * merge + Math.floor(i / merge), column * merge + (i % merge)]);
              }
            }
          }
          windows.push((order.length - before) * merge * merge);
        }
      }
    }
  }
  return { order, positions, windows, frames };
}

/** Where each element went: inverse[order[i]] = i. */
export function invert(order: readonly number[]): number[] {
  const inverse = Array<number>(order.length).fill(0);
  order.forEach((from, to) => {
    inverse[from] = to;
  });
  return inverse;
}

/** Runs of one length, as rows of the whole: attention runs once per length. */
export interface Bucket {
  readonly length: number;
  /** [count * length] */
  readonly rows: readonly number[];
}

/** Groups consecutive runs by length. One bucket means that the rows are already in order. */
export function bucketByLength(lengths: readonly number[]): Bucket[] {
  const buckets = new Map<number, number[]>();
  let start = 0;
  for (const length of lengths) {
    const rows = buckets.get(length) ?? [];
    for (let i = 0; i < length; i++) rows.push(start + i);
    buckets.set(length, rows);
    start += length;
  }
  return [...buckets].map(([length, rows]) => ({ length, rows }));
}
