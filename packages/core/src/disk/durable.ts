/** Writes that survive a killed process and a power cut. */
import { createHash } from 'node:crypto';
import {
  accessSync,
  closeSync,
  constants,
  createReadStream,
  existsSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readdirSync,
  renameSync,
  statSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import path from 'node:path';

/** Waits until a file's bytes, or a directory's entries, are on the disk. */
export function sync(file: string): void {
  const descriptor = openSync(file, 'r');
  try {
    fsyncSync(descriptor);
  } finally {
    closeSync(descriptor);
  }
}

/** Replaces a file: readers see the old one or the new one, never a part. */
export function replaceFile(file: string, text: string): void {
  const aside = `${file}.${process.pid}.tmp`;
  writeFileSync(aside, text);
  sync(aside);
  renameSync(aside, file);
  sync(path.dirname(file));
}

/** Like `mkdir -p`; Node's own never returns from some places where nothing can be made, such as /proc. */
export function makeDirectory(directory: string): void {
  if (existsSync(directory) && statSync(directory).isDirectory()) return;
  makeDirectory(path.dirname(directory));
  mkdirSync(directory);
}

/** @throws a system error where no directory of that name could be made */
export function assertCreatable(directory: string): void {
  if (!existsSync(directory)) return assertCreatable(path.dirname(directory));
  // Of a file this fails, as making a directory below it would.
  readdirSync(directory);
  accessSync(directory, constants.W_OK);
}

export async function sha256(file: string): Promise<string> {
  const hash = createHash('sha256');
  for await (const chunk of createReadStream(file, { highWaterMark: 2 ** 20 })) hash.update(chunk as Buffer);
  return hash.digest('hex');
}

/** A file of lines that only grows: one write per line, so a killed process leaves at most one part of a line. */
export class AppendOnly {
  readonly #descriptor: number;

  constructor(file: string) {
    this.#descriptor = openSync(file, 'a');
  }

  append(value: unknown): void {
    writeSync(this.#descriptor, `${JSON.stringify(value)}\n`);
  }

  sync(): void {
    fsyncSync(this.#descriptor);
  }

  close(): void {
    closeSync(this.#descriptor);
  }
}
