/**
 * The order in which training sees samples: a new permutation every epoch, given by the seed and the epoch alone, so the
 * place in it is two numbers; of several sets, two numbers and what each is owed.
 */
import type { Samples } from '../types.ts';
import { MixedSamples } from './samples.ts';

export interface CursorState {
  readonly epoch: number;
  /** Samples of this epoch already given. */
  readonly position: number;
  /** Where each set of a mixture is. */
  readonly sets?: readonly SetState[] | undefined;
}

interface SetState {
  readonly epoch: number;
  readonly position: number;
  /** Weight that it is owed: it is drawn from when it is owed most. */
  readonly owed: number;
}

export interface Cursor {
  /** Indices of the next samples; goes on into the next epoch. */
  next(count: number): number[];
  readonly state: CursorState;
  /** Draws, wherever it is, among which every sample is. */
  readonly round: number;
}

/** The order of samples by a seed: of a mixture by the weights of its sets. */
export const cursorOf = (samples: Samples, seed: number, state?: CursorState): Cursor =>
  samples instanceof MixedSamples
    ? new MixedCursor(
        samples.sets.map((set) => ({ size: set.samples.length, weight: set.weight })),
        seed,
        state,
      )
    : new DataCursor(samples.length, seed, state);

export class DataCursor implements Cursor {
  readonly #size: number;
  readonly #seed: number;
  #epoch: number;
  #position: number;
  #order: Uint32Array;

  /** @param size number of samples, at least 1 */
  constructor(size: number, seed: number, state: CursorState = { epoch: 0, position: 0 }) {
    if (!(size > 0)) throw new RangeError('a cursor needs at least one sample');
    this.#size = size;
    this.#seed = seed;
    this.#epoch = state.epoch;
    this.#position = state.position;
    this.#order = permutation(size, seed, this.#epoch);
  }

  /** Indices of the next samples; goes on into the next epoch. */
  next(count: number): number[] {
    return Array.from({ length: count }, () => {
      // Beyond it where the data has become less.
      if (this.#position >= this.#size) {
        this.#position = 0;
        this.#order = permutation(this.#size, this.#seed, ++this.#epoch);
      }
      return this.#order[this.#position++]!;
    });
  }

  get round(): number {
    return 2 * this.#size;
  }

  get state(): CursorState {
    return { epoch: this.#epoch, position: this.#position };
  }
}

interface DrawnSet {
  /** Undefined where it has no samples. */
  readonly cursor: DataCursor | undefined;
  /** Index of its first sample. */
  readonly start: number;
  readonly weight: number;
  owed: number;
}

/** Apart in their bits, so that sets of one size go in different orders. */
const SEED_STEP = 0x9e3779b9;

/**
 * Draws from several sets, one behind the other, so that after any number of draws each has had its share of them but for
 * less than one draw per set (smooth weighted round robin); within a set, a permutation every time that it is through.
 */
export class MixedCursor implements Cursor {
  readonly #sets: DrawnSet[] = [];
  readonly #size: number;
  readonly #total: number;
  #drawn: number;

  /** @param sets sizes and weights; a set without samples is never drawn from, and one at least has some */
  constructor(sets: readonly { readonly size: number; readonly weight: number }[], seed: number, state?: CursorState) {
    const known = state?.sets?.length === sets.length ? state.sets : undefined;
    let start = 0;
    for (const [i, { size, weight }] of sets.entries()) {
      const owed = known?.[i]?.owed ?? 0;
      const cursor = size > 0 ? new DataCursor(size, seed + i * SEED_STEP, known?.[i]) : undefined;
      this.#sets.push({ cursor, start, weight: size > 0 ? weight : 0, owed });
      start += size;
    }
    if (start === 0) throw new RangeError('a cursor needs at least one sample');
    this.#size = start;
    this.#total = this.#sets.reduce((sum, { weight }) => sum + weight, 0);
    this.#drawn = state ? state.epoch * start + state.position : 0;
  }

  next(count: number): number[] {
    return Array.from({ length: count }, () => {
      for (const set of this.#sets) set.owed += set.weight;
      const next = this.#sets.filter(({ cursor }) => cursor).reduce((most, set) => (set.owed > most.owed ? set : most));
      next.owed -= this.#total;
      this.#drawn += 1;
      return next.start + next.cursor!.next(1)[0]!;
    });
  }

  get round(): number {
    const [total, late] = [this.#total, this.#sets.length];
    const rounds = this.#sets.map(({ cursor, weight }) => (cursor ? ((cursor.round + late) * total) / weight : 0));
    return Math.ceil(Math.max(...rounds));
  }

  get state(): CursorState {
    const [epoch, position] = [Math.floor(this.#drawn / this.#size), this.#drawn % this.#size];
    const none = { epoch: 0, position: 0 };
    return { epoch, position, sets: this.#sets.map(({ cursor, owed }) => ({ ...(cursor?.state ?? none), owed })) };
  }
}

/** Fisher-Yates. */
export function permutation(size: number, seed: number, epoch: number): Uint32Array {
  const order = Uint32Array.from({ length: size }, (_, i) => i);
  const random = generator(seed, epoch);
  for (let i = size - 1; i > 0; i--) {
    const j = Math.floor(random() * (i + 1));
    [order[i], order[j]] = [order[j]!, order[i]!];
  }
  return order;
}

/** sfc32 (PractRand), in [0, 1), seeded by two numbers. */
function generator(seed: number, epoch: number): () => number {
  let [a, b, c, counter] = [seed | 0, epoch | 0, 0x9e3779b9 | 0, 1];
  const next = () => {
    const sum = (((a + b) | 0) + counter) | 0;
    counter = (counter + 1) | 0;
    a = b ^ (b >>> 9);
    b = (c + (c << 3)) | 0;
    c = (((c << 21) | (c >>> 11)) + sum) | 0;
    return (sum >>> 0) / 2 ** 32;
  };
  for (let i = 0; i < 15; i++) next();
  return next;
}
