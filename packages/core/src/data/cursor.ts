/**
 * The order in which training sees samples: a new permutation every epoch, given by the seed and the epoch alone, so the
 * place in it is two numbers.
 */

export interface CursorState {
  readonly epoch: number;
  /** Samples of this epoch already given. */
  readonly position: number;
}

export class DataCursor {
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

  get state(): CursorState {
    return { epoch: this.#epoch, position: this.#position };
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
