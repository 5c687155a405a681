/** Medians and ranges of repeated measurements. */

export interface Summary {
  readonly median: number;
  readonly low: number;
  readonly high: number;
}

export function summary(values: readonly number[]): Summary {
  if (values.length === 0) throw new Error('nothing was measured');
  const sorted = [...values].sort((a, b) => a - b);
  const middle = (sorted.length - 1) / 2;
  return {
    median: (sorted[Math.floor(middle)]! + sorted[Math.ceil(middle)]!) / 2,
    low: sorted[0]!,
    high: sorted.at(-1)!,
  };
}

/** How many times faster than the peer: the ratio of each pair of neighbouring steps, summarised. */
export function ratios(peer: readonly number[], ours: readonly number[]): Summary {
  if (peer.length !== ours.length) throw new Error(`${peer.length} steps of the peer, ${ours.length} of ours`);
  return summary(peer.map((seconds, i) => seconds / ours[i]!));
}
