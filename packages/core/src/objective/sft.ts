/** Supervised fine-tuning: equation 1, and its weighted relatives. */

/**
 * What the loss of a token is multiplied by, as a constant (no gradient flows through it): 1; its probability p
 * (`probability`: DFT, arXiv 2508.05629, equation 9); or p (1 - p) (`uncertainty`: CHORD, arXiv 2508.11408, equations 5
 * and 6).
 */
export type TokenWeighting = 'uniform' | 'probability' | 'uncertainty';

const factors: Readonly<Record<TokenWeighting, (p: number) => number>> = {
  uniform: () => 1,
  probability: (p) => p,
  uncertainty: (p) => p * (1 - p),
};

export interface Likelihood {
  /** Sum over tokens of -log pi, each times its factor and the weight. */
  readonly loss: number;
  /** [T] with the factors held fixed: -weight * factor */
  readonly derivatives: Float64Array;
}

/** @param weight of every token in the batch */
export function negativeLogLikelihood(
  logProbs: ArrayLike<number>, // [T]
  weight: number,
  weighting: TokenWeighting,
): Likelihood {
  const factor = factors[weighting];
  const derivatives = new Float64Array(logProbs.length);
  let sum = 0;
  for (let t = 0; t < logProbs.length; t++) {
    const value = logProbs[t]!;
    const own = factor(Math.exp(value));
    sum += own * value;
    derivatives[t] = -weight * own;
  }
  return { loss: -weight * sum, derivatives };
}
