/** Files that end, where they are looked for: what waits for a writer, never ends or is a device is not read. */
import { constants, readFileSync, statSync } from 'node:fs';
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
