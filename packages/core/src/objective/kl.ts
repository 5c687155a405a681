/**
 * The k3 estimator of KL(pi || pi_ref) per token: exp(d) - d - 1 with d = log pi_ref - log pi, never negative. d is clamped
 * to [-10, 10], so that one token that the reference finds all but impossible, or certain, cannot outweigh a batch.
 */

/** Largest |d|. */
const LIMIT = 10;

export interface KlPenalty {
  /** [T] */
  readonly values: Float64Array;
  /** [T] derivative with respect to log pi: 1 - exp(d); 0 where d was clamped, since the value is constant there */
  readonly derivatives: Float64Array;
  /** Tokens whose d was clamped. */
  readonly clamped: number;
}

export function klPenalty(logProbs: ArrayLike<number>, reference: ArrayLike<number>): KlPenalty {
  const differences = Float64Array.from(logProbs, (value, t) => reference[t]! - value);
  const isClamped = (d: number): boolean => Math.abs(d) > LIMIT;
  return {
    values: differences.map((d) => k3(Math.min(LIMIT, Math.max(-LIMIT, d)))),
    derivatives: differences.map((d) => (isClamped(d) ? 0 : -Math.expm1(d))),
    clamped: differences.filter(isClamped).length,
  };
}

const k3 = (d: number): number => Math.expm1(d) - d;
