/** Batches: samples in the order of the cursor, as their user has corrected them by the time that they are asked. */
import { Corrections } from '../data/corrections.ts';
import { cursorOf, type Cursor, type CursorState } from '../data/cursor.ts';
import { byFirst, share } from '../distributed/processes.ts';
import { UserError } from '../errors.ts';
import type { Batch } from '../step.ts';
import type { Sample } from '../types.ts';
import type { Training } from './types.ts';

interface BatchSource extends Pick<Training, 'config' | 'policy' | 'experiment' | 'samples' | 'frames' | 'processes'> {
  readonly onWarning: (message: string) => void;
}

export class Batches {
  readonly #source: BatchSource;
  readonly #cursor: Cursor;
  readonly #corrections: Corrections | undefined;
  #drawn: CursorState;
  /** The batch after the one that was drawn: its images are decoded while the model computes. */
  #upcoming: Batch;

  constructor(source: BatchSource, state?: CursorState) {
    const { config, samples } = source;
    const { corrections } = config.data;
    this.#source = source;
    this.#cursor = cursorOf(samples, config.seed, state);
    this.#corrections = corrections === undefined ? undefined : new Corrections(corrections);
    this.#drawn = this.#cursor.state;
    this.#upcoming = this.#pull();
  }

  /** The place after the batches that were drawn. */
  get drawn(): CursorState {
    return this.#drawn;
  }

  /** Of all processes. */
  async draw(): Promise<Batch> {
    const { policy, processes } = this.#source;
    const batch = this.#corrections ? await this.#corrected(this.#corrections, this.#upcoming) : this.#upcoming;
    this.#drawn = this.#cursor.state;
    this.#upcoming = this.#pull();
    policy.encoder.prefetch(share(processes, this.#upcoming.samples));
    return batch;
  }

  /**
   * A batch that was drawn before: its samples as their user has corrected them, none left out; undefined where there are no
   * such samples any more.
   */
  async again(indices: readonly number[]): Promise<Batch | undefined> {
    const { samples, processes, onWarning } = this.#source;
    if (indices.some((index) => index >= samples.length)) return undefined;
    const corrections = this.#corrections;
    if (corrections) corrections.refresh(await byFirst(processes, () => corrections.read())).forEach(onWarning);
    return {
      indices,
      samples: indices.map((index) => {
        const sample = samples.at(index)!;
        return (corrections && this.#correct(corrections, sample)) ?? sample;
      }),
    };
  }

  #pull(): Batch {
    const { config, samples } = this.#source;
    const indices = this.#cursor.next(config.promptsPerStep);
    return { indices, samples: indices.map((index) => samples.at(index)!) };
  }

  /** A batch with corrections; samples that are drawn next stand in for those that were dropped. */
  async #corrected(corrections: Corrections, { indices }: Batch): Promise<Batch> {
    const { config, samples, processes, onWarning } = this.#source;
    // The file may grow while the processes read it.
    corrections.refresh(await byFirst(processes, () => corrections.read())).forEach(onWarning);
    const taken: [number, Sample][] = [];
    const left = [...indices];
    for (let dropped = 0; taken.length < indices.length;) {
      const index = left.shift() ?? this.#cursor.next(1)[0]!;
      const sample = this.#correct(corrections, samples.at(index)!);
      if (sample) taken.push([index, sample]);
      else if (++dropped > this.#cursor.round + indices.length) {
        throw new UserError('every sample is dropped', { where: config.data.corrections });
      }
    }
    return { indices: taken.map(([index]) => index), samples: taken.map(([, sample]) => sample) };
  }

  /** A sample as its user wants it; undefined where it is not to be trained on. */
  #correct(corrections: Corrections, sample: Sample): Sample | undefined {
    const { policy, experiment, frames, onWarning } = this.#source;
    const fixed = corrections.apply(sample);
    if (fixed === undefined || fixed === sample) return fixed;
    try {
      experiment.weigh(policy, fixed, frames);
      return fixed;
    } catch (error) {
      if (!(error instanceof UserError)) throw error;
      onWarning(`the correction of ${sample.id} cannot be used, the sample stays as it was: ${error.reason}`);
      return sample;
    }
  }
}
