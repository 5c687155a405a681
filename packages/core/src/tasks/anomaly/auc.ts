/** Area under the receiver operating characteristic. */

export interface Scored {
  readonly positive: boolean;
  readonly score: number;
}

/**
 * Mann and Whitney: mean over pairs of a positive and a negative of [s+ > s-] + 0.5 [s+ = s-], from 0 to 1; undefined
 * where a class is missing. With scores of 0 and 1 it is (sensitivity + specificity) / 2.
 */
export function rocAuc(samples: readonly Scored[]): number | undefined {
  const positives = samples.filter(({ positive }) => positive).length;
  const negatives = samples.length - positives;
  if (positives === 0 || negatives === 0) return undefined;
  let below = 0;
  let wins = 0;
  const byScore = [...Map.groupBy(samples, ({ score }) => score)].sort(([a], [b]) => a - b);
  for (const [, equal] of byScore) {
    const own = equal.filter(({ positive }) => positive).length;
    wins += own * (below + (equal.length - own) / 2);
    below += equal.length - own;
  }
  return wins / (positives * negatives);
}
