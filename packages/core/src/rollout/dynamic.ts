/**
 * Dynamic sampling (DAPO, arXiv 2503.14476, equation 11): groups without a gradient are replaced by groups of other
 * prompts, so that the batch stays full.
 *
 * Departure: the paper keeps a group with some right answers and some wrong ones, and samples until the batch is full. Here
 * a group is kept where its rewards differ, whichever term makes the difference, and the number of batches has a limit.
 */
import type { Group } from '../types.ts';

/** Whether a group has a gradient: some advantage in the loss is not 0, or its label is imitated. */
const teaches = ({ rollouts, label }: Group): boolean =>
  label?.place === 'target' ||
  (label?.advantage ?? 0) !== 0 ||
  rollouts.some(({ advantage, masked }) => advantage !== 0 && !masked);

export interface SampledGroups {
  /** Those of the step: at most as many as a batch has; all of the first batch where no group at all teaches. */
  readonly groups: readonly Group[];
  /** All that were made. */
  readonly all: readonly Group[];
}

/** @param limit batches made at most; 1 takes all groups of one */
export async function sampleDynamically(make: () => Promise<Group[]>, limit: number): Promise<SampledGroups> {
  const first = await make();
  if (limit === 1) return { groups: first, all: first };
  const all = [...first];
  const kept = first.filter(teaches);
  for (let batches = 1; batches < limit && kept.length < first.length; batches++) {
    const more = await make();
    all.push(...more);
    kept.push(...more.filter(teaches));
  }
  return { groups: kept.length > 0 ? kept.slice(0, first.length) : first, all };
}
