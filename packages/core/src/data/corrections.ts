/**
 * What its user has decided about samples while a training runs, or before: a file of lines `{id, action: accept | drop}` or
 * `{id, action: fix, solution}`, of which later ones win. It may grow, and need not be there yet.
 */
import { closeSync, fstatSync, openSync, readSync, statSync } from 'node:fs';
import { z } from 'zod';
import { fileError, hasCode, messageOf } from '../errors.ts';
import { requireFile } from '../regular.ts';
import type { Sample } from '../types.ts';
import { NEWLINE } from './lines.ts';

const id = z.union([z.string(), z.number()]).transform(String);
const schema = z.discriminatedUnion('action', [
  z.object({ id, action: z.enum(['accept', 'drop']) }),
  z.object({
    id,
    action: z.literal('fix'),
    solution: z.unknown().refine((value) => value !== undefined && value !== null),
  }),
]);
type Correction = z.output<typeof schema>;

export class Corrections {
  readonly #file: string;
  readonly #known = new Map<string, Correction>();
  #read = 0;
  #line = 0;

  constructor(file: string) {
    this.#file = file;
  }

  /**
   * Takes up the whole lines that are new.
   * @param read what `read` has given, here or in another process
   * @returns what is wrong with some of them
   */
  refresh(read: Uint8Array = this.read()): string[] {
    const faults: string[] = [];
    const bytes = Buffer.from(read.buffer, read.byteOffset, read.byteLength);
    let start = 0;
    for (let end = bytes.indexOf(NEWLINE); end >= 0; end = bytes.indexOf(NEWLINE, start)) {
      this.#line += 1;
      const text = bytes.toString('utf8', start, end);
      start = end + 1;
      if (text.trim() === '') continue;
      const fault = this.#take(text);
      if (fault !== undefined) faults.push(`${this.#file}:${this.#line}: ${fault}: the line is left out`);
    }
    this.#read += start;
    return faults;
  }

  /** A sample as it was corrected; undefined where it was dropped. */
  apply(sample: Sample): Sample | undefined {
    const known = this.#known.get(sample.id);
    if (known === undefined) return sample;
    if (known.action !== 'fix') return known.action === 'drop' ? undefined : sample;
    const { solution } = known;
    return { ...sample, solution: typeof solution === 'string' ? solution : JSON.stringify(solution) };
  }

  #take(text: string): string | undefined {
    try {
      const found = schema.safeParse(JSON.parse(text));
      if (!found.success) return 'neither {id, action: accept | drop} nor {id, action: fix, solution}';
      this.#known.set(found.data.id, found.data);
      return undefined;
    } catch (error) {
      return `malformed JSON: ${messageOf(error)}`;
    }
  }

  /** What is new. @throws UserError where the file cannot be read */
  read(): Buffer {
    let descriptor: number | undefined;
    try {
      // A pipe that nobody writes to would wait forever to be opened.
      requireFile(statSync(this.#file), this.#file);
      descriptor = openSync(this.#file, 'r');
      const stat = fstatSync(descriptor);
      requireFile(stat, this.#file);
      if (stat.size < this.#read) {
        // Written anew: what it said before holds no more.
        [this.#read, this.#line] = [0, 0];
        this.#known.clear();
      }
      const bytes = Buffer.allocUnsafe(stat.size - this.#read);
      return bytes.subarray(0, readSync(descriptor, bytes, 0, bytes.length, this.#read));
    } catch (error) {
      if (hasCode(error, 'ENOENT')) return Buffer.alloc(0);
      throw fileError(error, { where: this.#file });
    } finally {
      if (descriptor !== undefined) closeSync(descriptor);
    }
  }
}
