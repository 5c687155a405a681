/** Seeded random numbers, the same on every machine: each scene has a generator of its own, keyed by what it is for. */

/** 32 well-mixed bits of a text (FNV-1a, then the finaliser of MurmurHash3). */
export function hash(text: string): number {
  let h = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) h = Math.imul(h ^ text.charCodeAt(i), 0x01000193);
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}

/** The small fast counting generator sfc32: 128 bits of state, keyed by any text. */
export class Random {
  #a: number;
  #b: number;
  #c: number;
  #count = 1;

  /** @example new Random('train/17') */
  constructor(key: string) {
    this.#a = hash(`a${key}`);
    this.#b = hash(`b${key}`);
    this.#c = hash(`c${key}`);
    for (let i = 0; i < 12; i++) this.bits();
  }

  /** 32 random bits, as a number from 0 to 2^32 - 1. */
  bits(): number {
    const result = (this.#a + this.#b + this.#count) | 0;
    this.#count = (this.#count + 1) | 0;
    this.#a = this.#b ^ (this.#b >>> 9);
    this.#b = (this.#c + (this.#c << 3)) | 0;
    this.#c = (((this.#c << 21) | (this.#c >>> 11)) + result) | 0;
    return result >>> 0;
  }

  /** Uniform in [0, 1). */
  uniform(): number {
    return this.bits() / 2 ** 32;
  }

  /** Uniform over the integers from `least` to `most`, both included. */
  integer(least: number, most: number): number {
    return least + Math.floor(this.uniform() * (most - least + 1));
  }

  /** @throws RangeError for an empty list. */
  pick<T>(items: readonly T[]): T {
    const item = items[this.integer(0, items.length - 1)];
    if (item === undefined) throw new RangeError('nothing to pick from');
    return item;
  }

  /** Standard normal (Box and Muller). */
  normal(): number {
    return Math.sqrt(-2 * Math.log(1 - this.uniform())) * Math.cos(2 * Math.PI * this.uniform());
  }

  /** Adds noise to every value, bell-shaped with mean 0: the four bytes of one draw summed, which is cheap. */
  addNoise(values: Float32Array, deviation: number): void {
    const scale = deviation / BYTES_DEVIATION;
    let [a, b, c, count] = [this.#a, this.#b, this.#c, this.#count];
    for (let i = 0; i < values.length; i++) {
      const bits = (a + b + count) | 0;
      count = (count + 1) | 0;
      a = b ^ (b >>> 9);
      b = (c + (c << 3)) | 0;
      c = (((c << 21) | (c >>> 11)) + bits) | 0;
      const sum = (bits & 255) + ((bits >>> 8) & 255) + ((bits >>> 16) & 255) + (bits >>> 24);
      values[i] = (values[i] ?? 0) + scale * (sum - 510);
    }
    [this.#a, this.#b, this.#c, this.#count] = [a, b, c, count];
  }
}

/** Standard deviation of the sum of four uniform bytes: sqrt(4 (256^2 - 1) / 12). */
const BYTES_DEVIATION = Math.sqrt((256 ** 2 - 1) / 3);
