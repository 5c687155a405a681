/**
 * From tokens to one number: the weight that every token of a response has in the loss. Denominators belong to the
 * whole batch, on all processes, and are known before any forward pass, so neither the loss nor its gradient depends
 * on how the batch is cut into micro-batches or processes.
 */

export interface Aggregate {
  readonly tokens: 'sum' | 'mean';
  readonly over: 'sequence' | 'batch';
  /** Constant that a sum over a sequence is divided by; only for `tokens: sum`, 1 if left out. */
  readonly normalizer?: number | undefined;
}

/** Denominators of a batch. Those of several processes are added up. */
export interface Totals {
  /** Prompts that have at least one response. */
  readonly prompts: number;
  /** Tokens of all responses, also of those that need no forward pass. */
  readonly tokens: number;
}

/**
 * Weight of each of the T tokens of a response in a group of M members, in a batch of B prompts with N tokens:
 * sum over sequence 1 / (normalizer M B), equation 9 up to the normalizer; mean over sequence 1 / (T M B), GRPO;
 * mean over batch 1 / N, DAPO.
 */
export function tokenWeight(
  { tokens, over, normalizer = 1 }: Aggregate,
  response: { readonly tokens: number; readonly members: number },
  totals: Totals,
): number {
  if (over === 'batch') return 1 / totals.tokens;
  return 1 / ((tokens === 'sum' ? normalizer : response.tokens) * response.members * totals.prompts);
}
