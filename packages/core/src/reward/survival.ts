/** Labels that rounding to the model's coordinates destroys: taught, they would be wrong by the task's own measure. */
import type { Sample } from '../types.ts';
import { scorerOf, type Scorer, type Subject } from './reward.ts';

export interface LostLabel extends Subject {
  readonly reason: string;
}

/** Labels that a message names; the others are counted. */
const SHOWN = 5;

const reasonOf = (scorers: Scorer, { sample, truth, frames }: Subject): string | undefined =>
  scorerOf(scorers, sample).task.lost?.(truth, frames);

/** The subjects whose label would not earn the full mark as the model writes it, and why. */
export const lostLabels = (scorers: Scorer, subjects: readonly Subject[]): LostLabel[] =>
  subjects.flatMap((subject) => {
    const reason = reasonOf(scorers, subject);
    return reason === undefined ? [] : [{ ...subject, reason }];
  });

/** Subjects to train on, in any paradigm, so that all train on the same; and those that are left out. */
export function withoutLost<S extends Subject>(
  scorers: Scorer,
  subjects: readonly S[],
): { readonly taught: readonly S[]; readonly lost: readonly LostLabel[] } {
  const lost = lostLabels(scorers, subjects);
  const left = new Set<Sample>(lost.map(({ sample }) => sample));
  return { taught: subjects.filter(({ sample }) => !left.has(sample)), lost };
}

/** A text for whoever trains; undefined where nothing is lost. */
export function describeLost(lost: readonly LostLabel[], total: number): string | undefined {
  if (lost.length === 0) return undefined;
  const listed = lost
    .slice(0, SHOWN)
    .map(({ sample: { id, source }, reason }) => `  ${source.file}:${source.line} (${id}): ${reason}`);
  if (lost.length > SHOWN) listed.push(`  and ${lost.length - SHOWN} more`);
  return [
    `${lost.length} of ${total} samples are left out: their labels do not survive the model's coordinates`,
    '  (visurf data check FILE --model MODEL says at which size of the image they would)',
    ...listed,
  ].join('\n');
}
