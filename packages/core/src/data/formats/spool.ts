/** Values of which there may be too many to hold: lines of a file that is gone when they are no longer needed. */
import { appendFileSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileError } from '../../errors.ts';
import { readLines } from '../lines.ts';

/** Characters that are kept until they are written. */
const CHUNK = 2 ** 18;

export class Spool<T> {
  #folder: string | undefined;
  #text = '';
  #length = 0;

  get length(): number {
    return this.#length;
  }

  /** @throws UserError where the disk is full */
  push(value: T): void {
    this.#text += `${JSON.stringify(value)}\n`;
    this.#length += 1;
    if (this.#text.length >= CHUNK) this.#write();
  }

  /** All values in their order. */
  async *read(): AsyncGenerator<T> {
    // What is short stays in memory.
    if (this.#folder !== undefined) {
      this.#write();
      for await (const { text } of readLines(this.#file, Infinity)) yield JSON.parse(text!) as T;
    } else for (const line of this.#text.split('\n').slice(0, -1)) yield JSON.parse(line) as T;
  }

  [Symbol.dispose](): void {
    if (this.#folder !== undefined) rmSync(this.#folder, { recursive: true, force: true });
  }

  get #file(): string {
    return path.join(this.#folder!, 'values.jsonl');
  }

  #write(): void {
    const folder = (this.#folder ??= mkdtempSync(path.join(tmpdir(), 'visurf-rows-')));
    try {
      appendFileSync(this.#file, this.#text);
    } catch (error) {
      throw fileError(error, { where: folder, remedy: 'Free some space, or name another folder with TMPDIR.' });
    }
    this.#text = '';
  }
}
