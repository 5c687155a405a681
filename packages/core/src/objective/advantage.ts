/** Group-relative advantages: equations 2, 6 and 7. */

/** Divisor of the advantage: sample standard deviation (n - 1), population (n), or none (mean-centring, Dr.GRPO). */
export type Std = 'sample' | 'population' | 'none';

/** What a reward is compared to: the mean of its group (GRPO), or that of the other responses (RLOO). */
export type Baseline = 'mean' | 'leave-one-out';

const EPSILON = 1e-6;

/**
 * A_i = (r_i - mean r) / (std r + 1e-6) over one group of n; all 0 where the rewards are all equal (tested on the
 * values). RLOO (arXiv 2402.14740) leaves r_i out of its baseline and divides by nothing:
 * A_i = r_i - sum_{j != i} r_j / (n - 1) = n / (n - 1) (r_i - mean r).
 * @throws where a reward is not finite: a bug of the reward, never to be trained on
 */
export function advantages(rewards: readonly number[], std: Std, baseline: Baseline = 'mean'): number[] {
  if (!rewards.every(Number.isFinite)) throw new Error(`rewards must be finite, got ${rewards.join(', ')}`);
  if (rewards.every((reward) => reward === rewards[0])) return rewards.map(() => 0);
  const mean = average(rewards);
  const deviationOf = std === 'none' ? 1 : deviation(rewards, mean, std) + EPSILON;
  const divisor = baseline === 'mean' ? deviationOf : (deviationOf * (rewards.length - 1)) / rewards.length;
  return rewards.map((reward) => (reward - mean) / divisor);
}

/** The mean; of equal values that value exactly. */
export function average(values: readonly number[]): number {
  const [first = NaN] = values;
  if (values.every((value) => value === first)) return first;
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

function deviation(values: readonly number[], mean: number, std: 'sample' | 'population'): number {
  const squares = values.reduce((sum, value) => sum + (value - mean) ** 2, 0);
  return Math.sqrt(squares / (std === 'sample' ? values.length - 1 : values.length));
}

export interface GroupAdvantages {
  /** A_y; undefined where the group has no label. */
  readonly label: number | undefined;
  /** [G] */
  readonly rollouts: readonly number[];
}

/**
 * Advantages over {r(y)} U {r(o_j)} (equations 6, 7), or over {r(o_j)} where there is no label (equation 2). A label
 * that smoothing switched off carries its smoothed reward and gets the literal 0 that (7) gives up to rounding.
 */
export function groupAdvantages(
  label: { readonly reward: number; readonly active: boolean } | undefined,
  rollouts: readonly number[],
  std: Std,
  baseline: Baseline = 'mean',
): GroupAdvantages {
  if (label === undefined) return { label: undefined, rollouts: advantages(rollouts, std, baseline) };
  const [first = 0, ...rest] = advantages([label.reward, ...rollouts], std, baseline);
  return { label: label.active ? first : 0, rollouts: rest };
}
