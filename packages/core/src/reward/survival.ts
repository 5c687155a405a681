/** Labels that rounding to the model's coordinates destroys: taught, they would be wrong by the task's own measure. */
import { scorerOf, type Scorer, type Subject } from './reward.ts';

export interface LostLabel extends Subject {
  readonly reason: string;
}

/** Labels that a message names; the others are counted. */
const SHOWN = 5;

const reasonOf = (scorers: Scorer, { sample, truth, frames }: Subject): string | undefined =>
  scorerOf(scorers, sample).task.lost?.(truth, frames);

/** Why the label of a subject would not earn the full mark as the model writes it; undefined where it would. */
export const lostLabel = (scorers: Scorer, subject: Subject): LostLabel | undefined => {
  const reason = reasonOf(scorers, subject);
  return reason === undefined ? undefined : { ...subject, reason };
};

/** Labels that are lost: how many, and the first of them. */
export class LostLabels {
  readonly #first: LostLabel[] = [];
  #count = 0;

  get count(): number {
    return this.#count;
  }

  add(label: LostLabel): void {
    if (this.#count < SHOWN) this.#first.push(label);
    this.#count += 1;
  }

  /** A text for whoever trains on so many samples; undefined where nothing is lost. */
  describe(total: number): string | undefined {
    if (this.#count === 0) return undefined;
    const listed = this.#first.map(
      ({ sample: { id, source }, reason }) => `  ${source.file}:${source.line} (${id}): ${reason}`,
    );
    if (this.#count > SHOWN) listed.push(`  and ${this.#count - SHOWN} more`);
    return [
      `${this.#count} of ${total} samples are left out: their labels do not survive the model's coordinates`,
      '  (visurf data check FILE --model MODEL says at which size of the image they would)',
      ...listed,
    ].join('\n');
  }
}
