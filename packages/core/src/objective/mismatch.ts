/**
 * Rollouts that another policy than pi_old has sampled, mu: a server's, whose arithmetic differs, or pi of a step before.
 * Their part of the loss is weighted by w = min(pi_old / mu, C), through which no gradient flows (truncated importance
 * sampling; Yao et al., "Your efficient RL framework secretly brings you off-policy RL training", 2025), or responses that
 * are too far off leave the loss. A label is nobody's sample: its weight is 1.
 */
import { importanceRatios, type Ratio } from './surrogate.ts';

export interface Correction {
  /** `truncate`: w; `mask`: w is 1, and a response whose pi_old / mu lies outside of 1 / C .. C is left out; `none`: w is 1. */
  readonly kind: 'truncate' | 'mask' | 'none';
  /** C */
  readonly cap: number;
}

/** [T] w of every token: of its own ratio, or of the whole response (the mean over its tokens, as GSPO has it). */
export const truncatedWeights = (
  old: ArrayLike<number>,
  sampled: ArrayLike<number>,
  ratio: Ratio,
  cap: number,
): Float64Array => importanceRatios(old, sampled, ratio).map((each) => Math.min(each, cap));

/** Whether pi_old / mu of the whole response, the product over its tokens, lies outside of 1 / C .. C. */
export function isFarOff(old: ArrayLike<number>, sampled: ArrayLike<number>, cap: number): boolean {
  const distance = Array.from(old).reduce((sum, value, t) => sum + value - sampled[t]!, 0);
  return Math.abs(distance) > Math.log(cap);
}

/** Sums over rollouts whose pi_old is known. */
export interface Mismatch {
  readonly tokens: number;
  /** Of |log pi_old - log mu| over tokens. */
  readonly distance: number;
  /** pi_old / mu of the token where it is largest. */
  readonly largest: number;
  /** Tokens whose ratio is above C. */
  readonly capped: number;
  readonly rollouts: number;
  /** Rollouts that are too far off. */
  readonly farOff: number;
}

export const noMismatch: Mismatch = { tokens: 0, distance: 0, largest: 0, capped: 0, rollouts: 0, farOff: 0 };

export function mismatchOf(old: ArrayLike<number>, sampled: ArrayLike<number>, cap: number): Mismatch {
  const distances = Float64Array.from(old, (value, t) => value - sampled[t]!);
  const ratios = distances.map(Math.exp);
  return {
    tokens: distances.length,
    distance: distances.reduce((sum, each) => sum + Math.abs(each), 0),
    largest: ratios.reduce((most, each) => Math.max(most, each), 0),
    capped: ratios.filter((each) => each > cap).length,
    rollouts: 1,
    farOff: isFarOff(old, sampled, cap) ? 1 : 0,
  };
}

export const addMismatch = (a: Mismatch, b: Mismatch): Mismatch => ({
  tokens: a.tokens + b.tokens,
  distance: a.distance + b.distance,
  largest: Math.max(a.largest, b.largest),
  capped: a.capped + b.capped,
  rollouts: a.rollouts + b.rollouts,
  farOff: a.farOff + b.farOff,
});
