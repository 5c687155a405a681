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
  return { hash, bits: set < LEAST || set > SIDE * SIDE - LEAST ? undefined : bits };
}

function ones(row: number): number {
  let count = 0;
  for (let rest = row; rest > 0; rest &= rest - 1) count += 1;
  return count;
}

const ENTRY = 'looks.jsonl';

const line = z.tuple([z.string(), z.string(), z.array(z.int().min(0).max(0xffff)).length(SIDE).nullable()]);

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
          const [file, hash, bits] = line.parse(JSON.parse(text));
          this.#looks.set(file, { hash, bits: bits ? Uint16Array.from(bits) : undefined });
        } catch {
          return; // A line that a full disk cut off: its picture is looked at again.
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
      ([file, { hash, bits }]) => void lines.push(`${JSON.stringify([file, hash, bits ? [...bits] : null])}\n`),
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

const distance = (a: Uint16Array, b: Uint16Array): number => a.reduce((sum, row, i) => sum + ones(row ^ b[i]!), 0);

/** Pairs of files that look alike and are not the same. */
export function alikePairs(looks: ReadonlyMap<string, Look>): [string, string][] {
  const pairs: [string, string][] = [];
  const seen = new Set<string>();
  // Of sixteen rows at least ten are equal where at most six bits differ.
  const byRow = new Map<number, string[]>();
  for (const [file, { bits, hash }] of looks) {
    if (!bits) continue;
    for (const [i, row] of bits.entries()) {
      const key = i * 2 ** 16 + row;
      const others = byRow.get(key) ?? [];
      for (const other of row === 0 ? [] : others) {
        const known = looks.get(other)!;
        if (seen.has(`${other}\0${file}`) || known.hash === hash) continue;
        seen.add(`${other}\0${file}`);
        if (distance(bits, known.bits!) <= MOST) pairs.push([other, file]);
      }
      others.push(file);
      byRow.set(key, others);
    }
  }
  return pairs;
}
