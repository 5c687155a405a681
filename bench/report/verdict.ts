/** Is a value good enough? */
import { percent } from './text.ts';

export type Better = 'higher' | 'lower';

/** Distance of a value to another on whose wrong side it is, as a share of it; 0 on the right side. */
export const miss = (better: Better, value: number, wanted: number): number =>
  Math.max(0, better === 'higher' ? 1 - value / wanted : value / wanted - 1);

export function verdict(better: Better, value: number, goal: number): string {
  const missed = miss(better, value, goal);
  return missed === 0 ? 'reached' : `missed by ${percent(missed)}`;
}
