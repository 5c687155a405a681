/**
 * The images of a dataset, each decoded once: what it is like is remembered by what its file holds, so that the next start
 * looks at no more than its size and its date.
 */
import { createHash } from 'node:crypto';
import { statSync } from 'node:fs';
import path from 'node:path';
import { z } from 'zod';
import { UserError } from '../errors.ts';
import { checkSize, decodeBytes, readImage, type ImageLimits } from '../prompt/decode.ts';
import type { Frame } from '../types.ts';
import { DataCache } from './cache.ts';
import type { Territory } from './inside.ts';
import type { Looks } from './looks.ts';
import { paced, type PaceOptions } from './paced.ts';
import { grown, Texts } from './texts.ts';

/** Images that are read and decoded at the same time. */
const AT_ONCE = 4;
const ENTRY = 'images.jsonl';
const ALLOW = 'where that is meant: data.allowOutside, or --allow-outside';

/** Sizes of images as a viewer shows them, by their files; undefined where one cannot be used. */
export interface Frames {
  get(file: string): Frame | undefined;
}

/** A line of the cache: name relative to the data, bytes and date of the file, its hash, the size of the picture. */
const line = z.tuple([
  z.string(),
  z.int().nonnegative(),
  z.number(),
  z.string().regex(/^[\da-f]{32}$/),
  z.int().positive(),
  z.int().positive(),
]);

export interface ImageCheck extends PaceOptions {
  readonly limits: ImageLimits;
  /** Sees the pixels of every image that it has not seen yet, by the hash of what its file holds. */
  readonly looks?: Pick<Looks, 'get' | 'see'> | undefined;
  /** Where images may lie; unset: anywhere. */
  readonly territory?: Territory | undefined;
}

export class Images implements Frames {
  readonly #folder: string;
  readonly #cache: DataCache;
  readonly #files = new Texts();
  /** By number of the file; 0: not known. */
  #bytes = new Float64Array(64);
  #dates = new Float64Array(64);
  #widths = new Uint32Array(64);
  #heights = new Uint32Array(64);
  readonly #hashes = new Texts();
  /** Number of the hash of a file, plus one. */
  #hashNumbers = new Uint32Array(64);
  /** A file with this hash, plus one. */
  #fileOf = new Uint32Array(64);
  /** 1: named by the data. 2: found to be usable. */
  #states = new Uint32Array(64);
  readonly #reasons = new Map<number, string>();
  #named = 0;
  #isNew = false;

  /** @param folder that of the data, absolute */
  constructor(folder: string) {
    this.#folder = folder;
    this.#cache = new DataCache(folder);
  }

  /** Takes what is remembered of images from the cache. */
  async recall(options: PaceOptions = {}): Promise<void> {
    await paced(
      this.#cache.lines(ENTRY),
      (text) => {
        const known = parseLine(text);
        if (!known) return;
        const [name, bytes, date, hash, width, height] = known;
        const file = this.#add(path.resolve(this.#folder, name));
        this.#set(file, { bytes, date, hash, width, height });
      },
      options,
    );
    this.#isNew = false;
  }

  /** Writes down what was found out, where that is new. */
  async remember(options: PaceOptions = {}): Promise<void> {
    if (!this.#isNew) return;
    const lines: string[] = [];
    await paced(
      this.#files.keys(),
      (file) => {
        if (this.#widths[file] === 0) return;
        const name = path.relative(this.#folder, this.#files.at(file)).split(path.sep).join('/');
        const hash = this.#hashAt(file);
        const known = [name, this.#bytes[file], this.#dates[file], hash, this.#widths[file], this.#heights[file]];
        lines.push(`${JSON.stringify(known)}\n`);
      },
      options,
    );
    this.#cache.write(ENTRY, lines.join(''));
    this.#isNew = false;
  }

  /** Images that the data names. */
  get size(): number {
    return this.#named;
  }

  /** The data names this image. */
  name(file: string): void {
    const number = this.#add(file);
    if (this.#states[number] !== 0) return;
    this.#states[number] = 1;
    this.#named += 1;
  }

  /** Files that the data names. */
  *names(): Generator<string> {
    for (const file of this.#files.keys()) if (this.#states[file] !== 0) yield this.#files.at(file);
  }

  get(file: string): Frame | undefined {
    const number = this.#files.find(file);
    if (number === undefined || this.#states[number] !== 2) return undefined;
    const [width, height] = [this.#widths[number]!, this.#heights[number]!];
    return { width, height, modelWidth: width, modelHeight: height };
  }

  /** Stands for all images that the data names, as they are. */
  async print(options: PaceOptions = {}): Promise<string> {
    const hash = createHash('sha256');
    await paced(
      this.#files.keys(),
      (file) => {
        if (this.#states[file] !== 2) return;
        hash.update(`${this.#hashAt(file)} ${this.#widths[file]} ${this.#heights[file]}\n`);
      },
      options,
    );
    return hash.digest('hex');
  }

  /** Why an image cannot be used, if it was found so. */
  reason(file: string): string | undefined {
    const number = this.#files.find(file);
    return number === undefined ? undefined : this.#reasons.get(number);
  }

  /** Bytes of an image that can be used. */
  bytesOf(file: string): number | undefined {
    const number = this.#files.find(file);
    return number === undefined || this.#states[number] === 0 ? undefined : this.#bytes[number];
  }

  /** Hash of what an image that can be used holds. */
  hashOf(file: string): string | undefined {
    const number = this.#files.find(file);
    return number === undefined || this.#states[number] !== 2 ? undefined : this.#hashAt(number);
  }

  /** Whether all images that the data names are as they are remembered, by size and date. */
  async areAsRemembered(options: PaceOptions & Pick<ImageCheck, 'territory'> = {}): Promise<boolean> {
    let all = true;
    await paced(
      this.#files.keys(),
      (file) => {
        if (!all || this.#states[file] !== 1) return;
        all = !this.#strays(file, options.territory) && this.#isAsRemembered(file);
      },
      options,
    );
    return all;
  }

  /** Looks at every image that the data names. */
  async check({ limits, looks, territory, signal, onProgress }: ImageCheck): Promise<void> {
    const [files, total] = [this.#files.keys(), this.#named];
    let done = 0;
    let turned = performance.now();
    const worker = async (): Promise<void> => {
      for (const file of files) {
        if (this.#states[file] !== 1) continue;
        signal?.throwIfAborted();
        const strays = this.#strays(file, territory);
        if (!strays && !this.#isKnown(file, limits, looks)) await this.#look(file, limits, looks);
        done += 1;
        if (performance.now() - turned < 40 && done < total) continue;
        onProgress?.(done);
        await new Promise((next) => setImmediate(next));
        turned = performance.now();
      }
    };
    await Promise.all(Array.from({ length: AT_ONCE }, worker));
    onProgress?.(done);
  }

  /** Whether an image lies where none may lie, which is then why it cannot be used. */
  #strays(file: number, territory: Territory | undefined): boolean {
    const name = this.#files.at(file);
    if (!territory || territory.has(name)) return false;
    this.#reasons.set(file, `image lies outside of the data folder: ${name} (${ALLOW})`);
    return true;
  }

  /** Whether nothing is left to be found out about an image. */
  #isKnown(file: number, limits: ImageLimits, looks: ImageCheck['looks']): boolean {
    if (!this.#fits(file, limits) || !this.#isAsRemembered(file)) return false;
    return looks === undefined || looks.get(this.#hashAt(file)) !== undefined;
  }

  /** Whether the size that is remembered is one that may be read. */
  #fits(file: number, limits: ImageLimits): boolean {
    try {
      checkSize(this.#sizeOf(file), limits);
      return true;
    } catch {
      return false;
    }
  }

  #isAsRemembered(file: number): boolean {
    if (this.#widths[file] === 0) return false;
    const stat = statSync(this.#files.at(file), { throwIfNoEntry: false });
    const isSame = stat?.isFile() === true && stat.size === this.#bytes[file] && stat.mtimeMs === this.#dates[file];
    if (isSame) this.#states[file] = 2;
    return isSame;
  }

  async #look(file: number, limits: ImageLimits, looks: ImageCheck['looks']): Promise<void> {
    const name = this.#files.at(file);
    try {
      const { bytes, size, mtimeMs: date } = await readImage(name, limits);
      const hash = createHash('sha256').update(bytes).digest('hex').slice(0, 32);
      const known = this.#hashes.find(hash);
      const isSeen = looks === undefined || looks.get(hash) !== undefined;
      const twin = isSeen && known !== undefined ? this.#fileOf[known]! : 0;
      if (twin > 0) checkSize(this.#sizeOf(twin - 1), limits);
      const found = twin > 0 ? { full: this.#sizeOf(twin - 1) } : await decodeBytes(bytes, name, limits);
      this.#set(file, { bytes: size, date, hash, ...found.full });
      if ('data' in found) looks?.see(hash, found);
      this.#states[file] = 2;
    } catch (error) {
      this.#states[file] = 1;
      this.#reasons.set(file, reasonOf(error, name));
    }
  }

  #hashAt(file: number): string {
    return this.#hashes.at(this.#hashNumbers[file]! - 1);
  }

  #sizeOf(file: number): { width: number; height: number } {
    return { width: this.#widths[file]!, height: this.#heights[file]! };
  }

  #add(file: string): number {
    const number = this.#files.add(file);
    while (number >= this.#bytes.length) {
      [this.#bytes, this.#dates] = [grown(this.#bytes), grown(this.#dates)];
      [this.#widths, this.#heights] = [grown(this.#widths), grown(this.#heights)];
      [this.#hashNumbers, this.#fileOf, this.#states] = [
        grown(this.#hashNumbers),
        grown(this.#fileOf),
        grown(this.#states),
      ];
    }
    return number;
  }

  #set(file: number, found: { bytes: number; date: number; hash: string; width: number; height: number }): void {
    [this.#bytes[file], this.#dates[file]] = [found.bytes, found.date];
    [this.#widths[file], this.#heights[file]] = [found.width, found.height];
    const hash = this.#hashes.add(found.hash);
    this.#hashNumbers[file] = hash + 1;
    this.#fileOf[hash] = file + 1;
    this.#isNew = true;
  }
}

function parseLine(text: string): z.output<typeof line> | undefined {
  try {
    return line.parse(JSON.parse(text));
  } catch {
    return undefined; // A line that a full disk cut off: its image is looked at again.
  }
}

/** What a UserError says, without its own place; anything else is a bug and thrown on. */
export function reasonOf(error: unknown, subject?: string): string {
  if (!(error instanceof UserError)) throw error;
  return [error.reason, subject && `: ${subject}`, error.remedy && ` (${error.remedy})`].filter(Boolean).join('');
}
