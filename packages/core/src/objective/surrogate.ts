/** The clipped surrogate of one response: equations 3 and 8. */

/** Per token, or one ratio for the whole response (GSPO, arXiv 2507.18071, equation 7). */
export type Ratio = 'token' | 'sequence';

export interface Clip {
  readonly low: number;
  readonly high: number;
}

export interface Surrogate {
  /** [T] min(rho A, clip(rho, 1 - low, 1 + high) A), to be maximised */
  readonly values: Float64Array;
  /** [T] derivative of the sum of the values with respect to each log-probability */
  readonly derivatives: Float64Array;
  /** Tokens whose gradient the lower bound cut off (A < 0), and the upper one (A > 0). */
  readonly clippedLow: number;
  readonly clippedHigh: number;
  /** Sum over tokens of rho, or of f(p). */
  readonly ratioSum: number;
}

/**
 * rho_t = exp(log pi_t - log pi_old_t); for `sequence` every token has exp of the mean over tokens of that difference
 * (sum of values = T s A, so its derivative for one token is s A). Where clipping is active the derivative is 0; on
 * its edge it is rho A. Without `old` the current policy is the old one: rho is 1 exactly.
 */
export function surrogate(
  logProbs: ArrayLike<number>, // [T]
  old: ArrayLike<number> | undefined, // [T]
  advantage: number,
  clip: Clip,
  ratio: Ratio,
): Surrogate {
  const length = logProbs.length;
  const ratios = importanceRatios(logProbs, old, ratio);
  const values = new Float64Array(length);
  const derivatives = new Float64Array(length);
  let clippedLow = 0;
  let clippedHigh = 0;
  if (advantage !== 0) {
    for (const [t, rho] of ratios.entries()) {
      if (advantage > 0 && rho > 1 + clip.high) clippedHigh += 1;
      else if (advantage < 0 && rho < 1 - clip.low) clippedLow += 1;
      else derivatives[t] = rho * advantage;
      values[t] = Math.min(rho * advantage, clamp(rho, 1 - clip.low, 1 + clip.high) * advantage);
    }
  }
  return { values, derivatives, clippedLow, clippedHigh, ratioSum: ratios.reduce((sum, rho) => sum + rho, 0) };
}

/**
 * The surrogate of a label that is taken as sampled with probability 1, and never clipped: f(p) A with p = pi(token) and
 * f(p) = p / (p + gamma), which learns most from unlikely tokens (LUFFY, arXiv 2504.14945, equations 6 and 7).
 * Its derivative by log p is gamma p / (p + gamma)^2 A.
 */
export function shapedSurrogate(logProbs: ArrayLike<number>, advantage: number, gamma: number): Surrogate {
  const probabilities = Float64Array.from(logProbs, Math.exp);
  const shaped = probabilities.map((p) => p / (p + gamma));
  return {
    values: shaped.map((f) => f * advantage),
    derivatives: probabilities.map((p) => ((gamma * p) / (p + gamma) ** 2) * advantage),
    clippedLow: 0,
    clippedHigh: 0,
    ratioSum: shaped.reduce((sum, f) => sum + f, 0),
  };
}

/** [T] exp of the difference of log-probabilities, or for `sequence` of its mean; 1 without `old`. */
export function importanceRatios(
  logProbs: ArrayLike<number>,
  old: ArrayLike<number> | undefined,
  ratio: Ratio,
): Float64Array {
  if (old === undefined) return new Float64Array(logProbs.length).fill(1);
  const differences = Float64Array.from(logProbs, (value, t) => value - old[t]!);
  if (ratio === 'token') return differences.map(Math.exp);
  const mean = differences.reduce((sum, value) => sum + value, 0) / differences.length;
  return differences.fill(Math.exp(mean));
}

const clamp = (value: number, low: number, high: number): number => Math.min(high, Math.max(low, value));
