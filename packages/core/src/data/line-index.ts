/** Where the lines of a text file are, so that any of them can be read again: 24 bytes a line, whatever it holds. */
import { createHash } from 'node:crypto';
import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import { UserError } from '../errors.ts';
import { openFile } from '../regular.ts';
import { NEWLINE, readError, requireUtf8, textOf, tooLong, type Line } from './lines.ts';
import { breathe } from './paced.ts';
import { Numbers } from './texts.ts';

/** Bytes that are read at once. */
const BLOCK = 2 ** 20;
/** Of ASCII. */
const isSpace = (byte: number): boolean => byte === 0x20 || (byte >= 0x09 && byte <= 0x0d);

export interface ScanOptions {
  readonly signal?: AbortSignal | undefined;
  /** Longer lines are faults; they are not read. */
  readonly maxLineBytes: number;
  /** The file stays open as long as the process lives: it may be removed or replaced. */
  readonly holds?: boolean;
}

interface Places {
  readonly starts: Float64Array;
  readonly lengths: Float64Array;
  readonly numbers: Float64Array;
}

export class LineIndex {
  readonly file: string;
  /** Of all bytes of the file. */
  readonly sha256: string;
  readonly #places: Places;
  readonly #maxBytes: number;
  /** Changes when the file does. */
  readonly #stamp: string;
  /** Its descriptor, where it is kept open. */
  readonly #held: number | undefined;

  /**
   * Reads a file to its end. Lines of nothing but spaces are left out.
   * @throws UserError where it cannot be read
   */
  static async scan(file: string, { signal, maxLineBytes, holds = false }: ScanOptions): Promise<LineIndex> {
    const hash = createHash('sha256');
    const [starts, lengths, numbers] = [new Numbers(), new Numbers(), new Numbers()];
    let [at, start, number, isBlank] = [0, 0, 1, true];
    const finish = (end: number): void => {
      if (!isBlank) {
        starts.push(start);
        lengths.push(end - start);
        numbers.push(number);
      }
      [start, isBlank] = [end + 1, true];
      number += 1;
    };
    try {
      await using handle = await openFile(file);
      const stat = await handle.stat();
      const block = Buffer.allocUnsafe(BLOCK);
      // What is written meanwhile is not waited for.
      while (at < stat.size) {
        const { bytesRead } = await handle.read(block, 0, Math.min(BLOCK, stat.size - at), at);
        signal?.throwIfAborted();
        if (bytesRead === 0) break;
        const bytes = block.subarray(0, bytesRead);
        if (at === 0) requireUtf8(bytes, file);
        hash.update(bytes);
        let from = 0;
        for (;;) {
          const found = bytes.indexOf(NEWLINE, from);
          const to = found < 0 ? bytesRead : found;
          for (let i = from; isBlank && i < to; i++) isBlank = isSpace(bytes[i]!);
          if (found < 0) break;
          finish(at + found);
          from = found + 1;
        }
        at += bytesRead;
        await breathe(signal);
      }
      if (at > start) finish(at);
      const places = { starts: starts.values, lengths: lengths.values, numbers: numbers.values };
      const held = holds ? openSync(file, 'r') : undefined;
      return new LineIndex(file, hash.digest('hex'), places, maxLineBytes, stampOf(stat), held);
    } catch (error) {
      throw readError(error, file);
    }
  }

  private constructor(
    file: string,
    sha256: string,
    places: Places,
    maxBytes: number,
    stamp: string,
    held: number | undefined,
  ) {
    this.file = file;
    this.sha256 = sha256;
    this.#places = places;
    this.#maxBytes = maxBytes;
    this.#stamp = stamp;
    this.#held = held;
  }

  get length(): number {
    return this.#places.starts.length;
  }

  /** Number of the i-th line in the file, from 1. */
  numberOf(i: number): number {
    return this.#places.numbers[i]!;
  }

  /** Only these lines, in this order. */
  pick(indices: ArrayLike<number>): LineIndex {
    const picked = (all: Float64Array): Float64Array => Float64Array.from(indices, (i) => all[i]!);
    const { starts, lengths, numbers } = this.#places;
    const places = { starts: picked(starts), lengths: picked(lengths), numbers: picked(numbers) };
    return new LineIndex(this.file, this.sha256, places, this.#maxBytes, this.#stamp, this.#held);
  }

  /** @throws UserError where the file is gone, or has changed since it was scanned */
  line(i: number): Line {
    for (const line of this.lines(i, i + 1)) return line;
    throw new RangeError(`there is no line ${i}`);
  }

  /** Lines from one to another, read block by block. @throws UserError as `line` does */
  *lines(from = 0, to = this.length): Generator<Line> {
    const { starts, lengths, numbers } = this.#places;
    let descriptor: number | undefined;
    try {
      descriptor = this.#held ?? openSync(this.file, 'r');
      if (stampOf(fstatSync(descriptor)) !== this.#stamp) throw changed(this.file);
      let block: Buffer = Buffer.alloc(0);
      let blockStart = 0;
      for (let i = from; i < to; i++) {
        const [start, length, number] = [starts[i]!, lengths[i]!, numbers[i]!];
        if (length > this.#maxBytes) {
          yield { number, text: undefined, fault: tooLong(length, this.#maxBytes) };
          continue;
        }
        if (start < blockStart || start + length > blockStart + block.length) {
          const size =
            to - i === 1 ? length : Math.max(length, Math.min(BLOCK, starts[to - 1]! + lengths[to - 1]! - start));
          block = Buffer.allocUnsafe(Math.max(size, length));
          blockStart = start;
          block = block.subarray(0, readSync(descriptor, block, 0, block.length, start));
          if (block.length < length) throw changed(this.file);
        }
        const text = textOf(block.subarray(start - blockStart, start - blockStart + length));
        yield { number, text, fault: text === undefined ? 'not UTF-8' : undefined };
      }
    } catch (error) {
      throw readError(error, this.file);
    } finally {
      if (descriptor !== undefined && descriptor !== this.#held) closeSync(descriptor);
    }
  }
}

const stampOf = ({ size, mtimeMs, ino }: { size: number; mtimeMs: number; ino: number }): string =>
  `${size} ${mtimeMs} ${ino}`;

const changed = (file: string): UserError =>
  new UserError('it has changed since it was read', {
    where: file,
    remedy: 'Bring it back as it was, or start again with it as it is.',
  });
