/** How far rollouts are from who sampled them, and what the correction does about it in an update. */
import type { Processes } from '../distributed/processes.ts';
import {
  addMismatch,
  isFarOff,
  mismatchOf,
  noMismatch,
  truncatedWeights,
  type Correction,
  type Mismatch,
} from '../objective/mismatch.ts';
import type { VisionLanguageModel } from '../model/vlm.ts';
import type { Group } from '../types.ts';
import { logProbs } from './log-probs.ts';
import type { Item, Planned, Work } from './work.ts';

/** Rollouts that are too far off are masked: their tokens leave the denominators, too. */
export function withoutFarOff(planned: readonly Planned[], work: readonly Work[], cap: number): Planned[] {
  const known = new Map(work.flatMap(({ items }) => items.map(({ response, old }) => [response, old] as const)));
  return planned.map((responses) =>
    responses.map((each) => {
      const old = known.get(each.response);
      return old && each.sampled && isFarOff(old, each.sampled, cap) ? { ...each, masked: true } : each;
    }),
  );
}

/** A rollout with its log mu, and its log pi_old as soon as that is known. */
type Compared = Pick<Item, 'sampled' | 'old'>;

export const rolloutsOf = (work: readonly Work[]): Compared[] =>
  work.flatMap(({ items }) => items.filter(({ sampled }) => sampled !== undefined));

/**
 * Rollouts of a few prompts, scored: of several processes those of the first prompts of the whole batch.
 * @param places of the groups among those of all processes
 */
export async function watchRollouts(
  model: VisionLanguageModel,
  groups: readonly Group[],
  atOnce: number,
  places: readonly number[],
  processes: Processes,
): Promise<Compared[]> {
  const sampled = groups.flatMap((group, i) => (group.rollouts.length > 0 ? [{ group, place: places[i]! }] : []));
  const all = (await processes.gather(sampled.map(({ place }) => place))).flat().sort((a, b) => a - b);
  const watched = sampled.flatMap(({ group, place }) => (all.indexOf(place) < atOnce ? [group] : []));
  if (watched.length === 0) return [];
  const said = watched.map(({ rollouts }) => rollouts.map(({ response }) => response));
  const items = watched.map(({ prompt }, i) => ({ prompt, responses: said[i]!.map(({ tokens }) => tokens) }));
  const flat = logProbs(model, items);
  let at = 0;
  return said
    .flat()
    .map(({ logProbs: sampled, tokens }) => ({ sampled, old: flat.subarray(at, (at += tokens.length)) }));
}

/** w of the tokens of a response; undefined: 1. */
export const weightsOf = ({ sampled, plan }: Item, old: Float64Array, correction: Correction | undefined) =>
  sampled && correction?.kind === 'truncate' ? truncatedWeights(old, sampled, plan.ratio, correction.cap) : undefined;

export const measured = (compared: readonly Compared[], { cap }: Correction): Mismatch =>
  compared.reduce(
    (sum, { old, sampled }) => (old && sampled ? addMismatch(sum, mismatchOf(old, sampled, cap)) : sum),
    noMismatch,
  );
