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

/** An interval that holds the median with 95% at least, whatever the values are spread like: between two of them. */
export function medianInterval(values: readonly number[]): readonly [low: number, high: number] {
  const sorted = values.toSorted((a, b) => a - b);
  const count = sorted.length;
  // How likely at most k of them are below the median: sums of binomials.
  let [chance, sum, k] = [0.5 ** count, 0, 0];
  for (; sum + chance <= 0.025; k++) {
    sum += chance;
    chance *= (count - k) / (k + 1);
  }
  if (k === 0) throw new Error(`${count} values say nothing with 95%`);
  return [sorted[k - 1]!, sorted[count - k]!];
}
