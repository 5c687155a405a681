/** One number of ours beside one of the reference: how far they are from each other, and how far they may be. */
export interface Comparison {
  readonly subject: string;
  /** `differences` are counted; distances are the largest over all elements. */
  readonly measure: 'differences' | 'absolute' | 'relative';
  readonly tolerance: number;
  readonly distance: number;
}

/** Largest difference; Infinity where lengths differ or a number is missing. */
export function largest(actual: ArrayLike<number>, expected: ArrayLike<number>): number {
  if (actual.length !== expected.length) return Infinity;
  let most = 0;
  for (let i = 0; i < actual.length; i++) {
    const difference = Math.abs((actual[i] ?? NaN) - (expected[i] ?? NaN));
    if (Number.isNaN(difference)) return Infinity;
    most = Math.max(most, difference);
  }
  return most;
}

export const worst = (values: readonly number[]): number => values.reduce((a, b) => Math.max(a, b), 0);

/** 1 where two values differ, 0 where they are the same. */
export const differs = (a: unknown, b: unknown): number => (JSON.stringify(a) === JSON.stringify(b) ? 0 : 1);
