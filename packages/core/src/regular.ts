/** Files that end, where they are looked for: what waits for a writer, never ends or is a device is not read. */
import { closeSync, constants, fstatSync, openSync, readFileSync, readSync, statSync } from 'node:fs';
import { open, stat, type FileHandle } from 'node:fs/promises';
import { UserError } from './errors.ts';

/** Whether a path stays below the folder that it is relative to, on any system. */
export const isPath = (path: string): boolean =>
  Buffer.byteLength(path) <= 1000 &&
  path.split('/').every((part) => /^(?!\.{1,2}$)[^\p{Cc}\\:]+$/u.test(part) && Buffer.byteLength(part) <= 250);

interface Kind {
  isFile(): boolean;
  isDirectory(): boolean;
  isFIFO(): boolean;
  isSocket(): boolean;
}

/** @throws UserError where it is no file of bytes */
export function requireFile(kind: Kind, file: string): void {
  if (kind.isFile()) return;
  const what = kind.isDirectory() ? 'a folder' : kind.isFIFO() ? 'a pipe' : kind.isSocket() ? 'a socket' : 'a device';
  throw new UserError(`is not a file but ${what}`, { where: file });
}

/**
 * A file opened for reading.
 * @throws UserError where it is a folder, a pipe, a socket or a device; a system error where it cannot be opened
 */
export async function openFile(file: string): Promise<FileHandle> {
  // A pipe that nobody writes to would wait forever to be opened.
  requireFile(await stat(file), file);
  const handle = await open(file, constants.O_RDONLY | constants.O_NONBLOCK);
  try {
    requireFile(await handle.stat(), file);
    return handle;
  } catch (error) {
    await handle.close();
    throw error;
  }
}

/**
 * All bytes of a file that a user names.
 * @throws UserError where it is a folder, a pipe or a device; a system error where it cannot be read
 */
export function readBytes(file: string): Buffer {
  requireFile(statSync(file), file);
  // What the system shows as a file may wait for ever, too: /proc/kmsg.
  return readFileSync(file, { flag: constants.O_RDONLY | constants.O_NONBLOCK });
}

/** The same as text. */
export const readText = (file: string): string => readBytes(file).toString();

/** Bytes that are read at a time, and of the longest line: a longer one is damage, such as zeros after a power cut. */
const [CHUNK, LONGEST] = [4 << 20, 64 << 20];

/**
 * The lines of a file that is larger than a text may be; a last one that has no end is left out.
 * @returns undefined for a line that is longer than a line is
 * @throws as `readBytes`
 */
export function* linesOf(file: string): Generator<string | undefined> {
  requireFile(statSync(file), file);
  const opened = openSync(file, constants.O_RDONLY | constants.O_NONBLOCK);
  try {
    const chunk = Buffer.alloc(CHUNK);
    let begun: Buffer[] = [];
    let bytes = 0;
    const take = (part: Buffer): void => {
      bytes += part.length;
      if (bytes > LONGEST) begun = [];
      else begun.push(Buffer.from(part));
    };
    for (let read = readSync(opened, chunk); read > 0; read = readSync(opened, chunk)) {
      let start = 0;
      for (let end = chunk.indexOf(10); end >= 0 && end < read; end = chunk.indexOf(10, start)) {
        take(chunk.subarray(start, end));
        yield bytes > LONGEST ? undefined : Buffer.concat(begun).toString();
        [begun, bytes, start] = [[], 0, end + 1];
      }
      take(chunk.subarray(start, read));
    }
  } finally {
    closeSync(opened);
  }
}

/** Bytes of a file up to the end of its last whole line. */
export function wholeLines(file: string): number {
  const opened = openSync(file, constants.O_RDONLY | constants.O_NONBLOCK);
  try {
    const chunk = Buffer.alloc(CHUNK);
    for (let end = fstatSync(opened).size; end > 0; end -= Math.min(CHUNK, end)) {
      const from = Math.max(0, end - CHUNK);
      const last = chunk.subarray(0, readSync(opened, chunk, 0, end - from, from)).lastIndexOf(10);
      if (last >= 0) return from + last + 1;
    }
    return 0;
  } finally {
    closeSync(opened);
  }
}

/** All bytes of a file of which so many are there. */
export async function readWhole(handle: FileHandle, size: number): Promise<Buffer> {
  const bytes = Buffer.allocUnsafe(size);
  let at = 0;
  while (at < size) {
    const { bytesRead } = await handle.read(bytes, at, size - at, at);
    if (bytesRead === 0) break;
    at += bytesRead;
  }
  return bytes.subarray(0, at);
}
