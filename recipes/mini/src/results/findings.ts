/** What the paper says, as statements about differences that a comparison measured: each holds, does not, or stays open. */
import type { Compared } from '@visurf/core';

export interface Claim {
  readonly text: string;
  /** The reference is better than each of these in the column; `worse`: the other way round. */
  readonly column: string;
  readonly against: readonly string[];
  readonly expected: 'better' | 'worse';
}

export type Verdict = 'holds' | 'does not hold' | 'open';

const one = (value: number): string => value.toFixed(1);

/** Largest p-value, corrected for the number of comparisons, of a difference that counts. */
const LEVEL = 0.05;

/** The paired difference decides: its 95% interval lies on the claimed side of 0, on the other, or chance may have made it. */
export function verdictOf(
  { low, high, corrected }: { readonly low: number; readonly high: number; readonly corrected: number },
  expected: Claim['expected'],
): Verdict {
  if (corrected >= LEVEL) return 'open';
  const [worst, best] = expected === 'better' ? [low, high] : [-high, -low];
  return worst > 0 ? 'holds' : best < 0 ? 'does not hold' : 'open';
}

/** A line for every policy that a claim is about. */
export function renderFindings(claims: readonly Claim[], { estimates, reference }: Compared): string {
  return claims
    .map(({ text, column, against, expected }) => {
      const lines = against.map((policy) => {
        const difference = estimates.differences.get(policy)!.get(column)!;
        const mean = (of: string): string => one(estimates.values.get(of)!.get(column)!.mean);
        const { low, high, corrected } = difference;
        const p = corrected < 0.001 ? 'p < 0.001' : `p = ${corrected.toFixed(3)}`;
        return (
          `  - ${policy}: **${verdictOf(difference, expected)}**; ${reference} ${mean(reference)}, ${policy} ${mean(policy)}, ` +
          `difference ${one(difference.mean)} [${one(low)}, ${one(high)}], ${p}`
        );
      });
      return [`- *${text}* (${column})`, ...lines].join('\n');
    })
    .join('\n');
}
