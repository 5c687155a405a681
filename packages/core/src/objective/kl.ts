/** The k3 estimator of KL(pi || pi_ref) per token: exp(d) - d - 1 with d = log pi_ref - log pi, never negative. */

export interface KlPenalty {
  /** [T] */
  readonly values: Float64Array;
  /** [T] derivative with respect to log pi: 1 - exp(d) */
  readonly derivatives: Float64Array;
}

export function klPenalty(logProbs: ArrayLike<number>, reference: ArrayLike<number>): KlPenalty {
  const differences = Float64Array.from(logProbs, (value, t) => reference[t]! - value);
  return {
    values: differences.map((d) => Math.expm1(d) - d),
    derivatives: differences.map((d) => -Math.expm1(d)),
  };
}
