/** Writes that survive a killed process and a power cut. */
import { createHash } from 'node:crypto';
import {
  accessSync,
  closeSync,
  constants,
  createReadStream,
  existsSync,
  fstatSync,
  fsyncSync,
  ftruncateSync,
  mkdirSync,
  openSync,
  readdirSync,
  readSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import path from 'node:path';
import { removing } from '@visurf/torch/signals';
import { hasCode } from '../errors.ts';
import { requireFile } from '../regular.ts';

/** Waits until a file's bytes, or a directory's entries, are on the disk. */
export function sync(file: string): void {
  const descriptor = openSync(file, 'r');
  try {
    fsyncSync(descriptor);
  } catch (error) {
    // Some file systems of the net cannot wait for a directory; its entries are there as soon as they say so.
    const isNever = ['EINVAL', 'EBADF', 'ENOTSUP', 'EOPNOTSUPP', 'ENOSYS'].some((code) => hasCode(error, code));
    if (!isNever || !fstatSync(descriptor).isDirectory()) throw error;
  } finally {
    closeSync(descriptor);
  }
}

/** Replaces a file: readers see the old one or the new one, never a part, and nothing is left where there is no room. */
export function writeAside(file: string, text: string | Uint8Array): void {
  const aside = `${file}.tmp`;
  try {
    removing(aside, () => {
      writeFileSync(aside, text);
      renameSync(aside, file);
    });
  } catch (error) {
    removeQuietly(aside);
    throw error;
  }
}

/** The same, and waits until it is on the disk. */
export function replaceFile(file: string, text: string): void {
  const aside = `${file}.${process.pid}.tmp`;
  try {
    removing(aside, () => {
      writeFileSync(aside, text);
      sync(aside);
      renameSync(aside, file);
    });
  } catch (error) {
    removeQuietly(aside);
    throw error;
  }
  sync(path.dirname(file));
}

/** After a failure that is reported: what cannot be removed is not worth another one. */
export function removeQuietly(file: string): void {
  try {
    rmSync(file, { recursive: true, force: true });
  } catch {
    // The next start removes it.
  }
}

/** Like `mkdir -p`; Node's own never returns from some places where nothing can be made, such as /proc. */
export function makeDirectory(directory: string): void {
  if (existsSync(directory) && statSync(directory).isDirectory()) return;
  makeDirectory(path.dirname(directory));
  mkdirSync(directory);
}

/** @throws a system error where no directory of that name could be made */
export function assertCreatable(directory: string): void {
  // Throws for a name that is too long, of which `existsSync` says that it is not there.
  if (!statSync(directory, { throwIfNoEntry: false })) return assertCreatable(path.dirname(directory));
  // Of a file this fails, as making a directory below it would.
  readdirSync(directory);
  accessSync(directory, constants.W_OK);
}

/** Before the work, not after it, and without a trace. @throws a system error where the file could not be written */
export function assertWritable(file: string): void {
  if (statSync(file, { throwIfNoEntry: false })) closeSync(openSync(file, 'r+'));
  else assertCreatable(path.dirname(file));
}

export async function sha256(file: string): Promise<string> {
  const hash = createHash('sha256');
  for await (const chunk of createReadStream(file, { highWaterMark: 2 ** 20 })) hash.update(chunk as Buffer);
  return hash.digest('hex');
}

/** A file of any size from another, on the disk: written piece by piece, so that trials of crashes see how far it came. */
export function copyFile(from: string, to: string): void {
  requireFile(statSync(from), from);
  const [source, target] = [openSync(from, 'r'), openSync(to, 'w')];
  try {
    const chunk = Buffer.alloc(4 << 20);
    for (let read = readSync(source, chunk); read > 0; read = readSync(source, chunk))
      for (let done = 0; done < read;) done += writeSync(target, chunk, done, read - done);
    fsyncSync(target);
  } finally {
    closeSync(source);
    closeSync(target);
  }
}

/** A file of lines that only grows; a process that is killed leaves at most one part of a line. */
export class AppendOnly {
  readonly #descriptor: number;

  constructor(file: string) {
    this.#descriptor = openSync(file, 'a');
  }

  append(value: unknown): void {
    const line = Buffer.from(`${JSON.stringify(value)}\n`);
    const before = fstatSync(this.#descriptor).size;
    try {
      for (let done = 0; done < line.length;) done += writeSync(this.#descriptor, line, done);
    } catch (error) {
      // Where the disk became full in the middle of it.
      ftruncateSync(this.#descriptor, before);
      throw error;
    }
  }

  /** Bytes. */
  get size(): number {
    return fstatSync(this.#descriptor).size;
  }

  sync(): void {
    fsyncSync(this.#descriptor);
  }

  close(): void {
    closeSync(this.#descriptor);
  }
}
