/** How pictures look: two are the same where their pixels are, and alike where a coarse drawing of them is. */
import { createHash } from 'node:crypto';
import { z } from 'zod';
import type { Pixels } from '../prompt/decode.ts';
import { DataCache } from './cache.ts';
import { paced, type PaceOptions } from './paced.ts';

export interface Look {
  /** Of all pixels. */
  readonly hash: string;
  /** A bit for each of 16 x 16 places: lighter than the place to the right? Undefined where there is little to see. */
  readonly bits: Uint16Array | undefined;
  /** The highest value of any channel, of 255. */
  readonly peak: number;
}

const SIDE = 16;
/** Bits of 256 in which pictures that are alike may differ. */
const MOST = 6;
/** Bits that a picture of something has set at least, and leaves at least. */
const LEAST = 24;

export function lookOf({ data, width, height }: Pixels): Look {
  const hash = createHash('sha256').update(`${width}x${height}`).update(data).digest('hex');
  const light = (x: number, y: number): number => {
    const [x0, x1] = [Math.floor((x * width) / (SIDE + 1)), Math.ceil(((x + 1) * width) / (SIDE + 1))];
    const [y0, y1] = [Math.floor((y * height) / SIDE), Math.ceil(((y + 1) * height) / SIDE)];
    let sum = 0;
    for (let row = y0; row < y1; row++) {
      for (let at = (row * width + x0) * 3; at < (row * width + x1) * 3; at++) sum += data[at]!;
    }
    return sum / ((x1 - x0) * (y1 - y0));
  };
  const bits = new Uint16Array(SIDE);
  for (let y = 0; y < SIDE; y++) {
    for (let x = 0; x < SIDE; x++) if (light(x, y) > light(x + 1, y) + 1) bits[y]! |= 1 << x;
  }
  const set = bits.reduce((sum, row) => sum + ones(row), 0);
  const peak = data.reduce((most, each) => Math.max(most, each), 0);
  return { hash, bits: set < LEAST || set > SIDE * SIDE - LEAST ? undefined : bits, peak };
}

function ones(row: number): number {
  let count = 0;
  for (let rest = row; rest > 0; rest &= rest - 1) count += 1;
  return count;
}

const ENTRY = 'looks.jsonl';

const line = z.tuple([z.string(), z.string(), z.array(z.int().min(0).max(0xffff)).length(SIDE).nullable(), z.int()]);

/** How pictures look, remembered by what their files hold. */
export class Looks {
  readonly #cache: DataCache;
  readonly #looks = new Map<string, Look>();
  #isNew = false;

  /** @param source the data */
  constructor(source: string) {
    this.#cache = DataCache.of(source);
  }

  async recall(options: PaceOptions = {}): Promise<void> {
    await paced(
      this.#cache.lines(ENTRY),
      (text) => {
        try {
          const [file, hash, bits, peak] = line.parse(JSON.parse(text));
          this.#looks.set(file, { hash, bits: bits ? Uint16Array.from(bits) : undefined, peak });
        } catch {
          return; // A line of an older version, or that a full disk cut off: its picture is looked at again.
        }
      },
      options,
    );
  }

  async remember(options: PaceOptions = {}): Promise<void> {
    if (!this.#isNew) return;
    const lines: string[] = [];
    await paced(
      this.#looks,
      ([file, { hash, bits, peak }]) =>
        void lines.push(`${JSON.stringify([file, hash, bits ? [...bits] : null, peak])}\n`),
      options,
    );
    this.#cache.write(ENTRY, lines.join(''));
  }

  /** @param hash of what the file holds */
  get(hash: string): Look | undefined {
    return this.#looks.get(hash);
  }

  see(hash: string, pixels: Pixels): void {
    this.#looks.set(hash, lookOf(pixels));
    this.#isNew = true;
  }
}

const COUNTS = Uint8Array.from({ length: 2 ** 16 }, (_, row) => ones(row));

const distance = (a: Uint16Array, b: Uint16Array): number => {
  let sum = 0;
  for (let i = 0; i < SIDE; i++) sum += COUNTS[a[i]! ^ b[i]!]!;
  return sum;
};

/** Rows by twos: where at most six bits differ, two of these eight are equal at least. */
const BANDS = SIDE / 2;
/** Pictures with the same two bands that one is compared with at most. */
const COMPARED = 64;

/**
 * Pictures that look alike and are not the same: for each at most one other, of those before it or, where `others` are
 * given, of those. Memory and time grow with the number of pictures alone.
 */
export function alikePairs(looks: ReadonlyMap<string, Look>, others?: ReadonlyMap<string, Look>): [string, string][] {
  const held = distinct(others ?? looks);
  const asked = others ? distinct(looks) : held;
  const found = new Int32Array(asked.length).fill(-1);
  const next = new Int32Array(held.length);
  for (let first = 0; first < BANDS; first++) {
    for (let second = first + 1; second < BANDS; second++) {
      const keyOf = ({ bits }: Seen): number => mixed(bits, first) * 2 ** 20 + (mixed(bits, second) >>> 12);
      const last = new Map<number, number>();
      const put = (i: number): void => {
        const key = keyOf(held[i]!);
        next[i] = last.get(key) ?? -1;
        last.set(key, i);
      };
      const isEmpty = ({ bits }: Seen): boolean =>
        [first, second].every((band) => !bits[2 * band] && !bits[2 * band + 1]);
      if (others) held.forEach((_, i) => put(i));
      for (const [i, seen] of asked.entries()) {
        if (isEmpty(seen)) continue;
        if (found[i]! < 0) {
          let at = last.get(keyOf(seen)) ?? -1;
          for (let n = 0; at >= 0 && n < COMPARED; n++, at = next[at]!) {
            const { bits, hash } = held[at]!;
            if (hash === seen.hash || distance(bits, seen.bits) > MOST) continue;
            found[i] = at;
            break;
          }
        }
        if (!others) put(i);
      }
    }
  }
  return asked.flatMap(({ file }, i): [string, string][] => (found[i]! < 0 ? [] : [[held[found[i]!]!.file, file]]));
}

interface Seen {
  readonly file: string;
  readonly hash: string;
  readonly bits: Uint16Array;
}

/** A file of every picture in which there is something to see. */
function distinct(looks: ReadonlyMap<string, Look>): Seen[] {
  const hashes = new Set<string>();
  const seen: Seen[] = [];
  for (const [file, { hash, bits }] of looks) {
    if (!bits || hashes.has(hash)) continue;
    hashes.add(hash);
    seen.push({ file, hash, bits });
  }
  return seen;
}

/** 32 bits for the two rows of a band, which are those of no others. */
const mixed = (bits: Uint16Array, band: number): number =>
  Math.imul(bits[2 * band]! * 2 ** 16 + bits[2 * band + 1]!, 0x9e3779b1) >>> 0;
