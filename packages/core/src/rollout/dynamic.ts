/**
 * Dynamic sampling (DAPO, arXiv 2503.14476, equation 11): groups without a gradient are replaced by groups of other
 * prompts, so that the batch stays full.
 *
 * Departure: the paper keeps a group with some right answers and some wrong ones, and samples until the batch is full. Here
 * a group is kept where its rewards differ, whichever term makes the difference, and the number of batches has a limit.
 */
import { alone, whole, type Processes } from '../distributed/processes.ts';
import type { Group } from '../types.ts';

/** Whether a group has a gradient: some advantage in the loss is not 0, or its label is imitated. */
const teaches = ({ rollouts, label }: Group): boolean =>
  label?.place === 'target' ||
  (label?.advantage ?? 0) !== 0 ||
  rollouts.some(({ advantage, masked }) => advantage !== 0 && !masked);

/** A group of this process, and its place among those of all. */
export interface PlacedGroup {
  readonly place: number;
  readonly group: Group;
}

export interface SampledGroups {
  /**
   * This process's share of those of the step: at most as many as a batch has; all of the first batch where no group at all
   * teaches.
   */
  readonly groups: readonly PlacedGroup[];
  /** How many were made, by all processes. */
  readonly sampled: number;
}

/** A group that some process has made. */
interface Made {
  readonly teaches: boolean;
  readonly own: Group | undefined;
}

/**
 * @param make gives this process's share of a batch
 * @param limit batches made at most; 1 takes all groups of one
 */
export async function sampleDynamically(
  make: () => Promise<Group[]>,
  limit: number,
  processes: Pick<Processes, 'rank' | 'gather'> = alone,
): Promise<SampledGroups> {
  const batch = async (): Promise<Made[]> => {
    const groups = await make();
    const shares = await processes.gather(groups.map(teaches));
    return whole(
      shares.map((share, rank) =>
        share.map((each, i) => ({ teaches: each, own: rank === processes.rank ? groups[i] : undefined })),
      ),
    );
  };
  const first = await batch();
  const all = [...first];
  const isKept = (made: Made): boolean => limit === 1 || made.teaches;
  let kept = first.filter(isKept);
  for (let batches = 1; batches < limit && kept.length < first.length; batches++) {
    const more = await batch();
    all.push(...more);
    kept.push(...more.filter(isKept));
  }
  if (kept.length === 0) kept = first;
  const placed = kept.slice(0, first.length).flatMap(({ own }, place) => (own ? [{ place, group: own }] : []));
  return { groups: placed, sampled: all.length };
}
