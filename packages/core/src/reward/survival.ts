/** Labels that rounding to the model's coordinates destroys: taught, they would be wrong by the task's own measure. */
import type { Sample } from '../types.ts';
import { scorerOf, type Scorer, type Subject } from './reward.ts';

export interface LostLabel {
  readonly sample: Sample;
  readonly reason: string;
}

export const lostLabels = <S extends Subject>(scorers: Scorer, subjects: readonly S[]): (LostLabel & S)[] =>
  subjects.flatMap((subject) => {
    const { sample, truth, frames } = subject;
    const reason = scorerOf(scorers, sample).task.lost?.(truth, frames);
    return reason === undefined ? [] : [{ ...subject, reason }];
  });
