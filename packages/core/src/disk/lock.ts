/** One process at a time writes a run: a file `lock` that names it. */
import { linkSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { hostname } from 'node:os';
import path from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { hasCode, UserError } from '../errors.ts';

interface Owner {
  readonly pid: number;
  readonly host: string;
  /** When the process began, as the kernel counts it: tells a process from a later one with the same number. */
  readonly born: string | undefined;
}

/**
 * Takes the lock of a run directory, from a dead process where need be; returns what releases it.
 * @throws UserError where another process holds it
 */
export function lockRun(directory: string): () => void {
  const file = path.join(directory, 'lock');
  const own: Owner = { pid: process.pid, host: hostname(), born: birthOf(process.pid) };
  const aside = `${file}.${process.pid}.tmp`;
  writeFileSync(aside, JSON.stringify(own));
  try {
    if (!link(aside, file)) {
      const other = ownerOf(file);
      if (other && isAlive(other)) throw heldBy(other, file);
      rmSync(file, { force: true });
      if (!link(aside, file)) throw heldBy(ownerOf(file), file);
    }
  } finally {
    rmSync(aside, { force: true });
  }
  return () => {
    if (ownerOf(file)?.pid === process.pid) rmSync(file, { force: true });
  };
}

/** The same for a directory that processes share: waits for its turn, asking every so many milliseconds. */
export async function lockDirectory(directory: string, interval: number): Promise<() => void> {
  for (;;) {
    try {
      return lockRun(directory);
    } catch (error) {
      if (!(error instanceof UserError)) throw error;
      await setTimeout(interval);
    }
  }
}

/** Atomic: false where the lock exists. */
function link(from: string, to: string): boolean {
  try {
    linkSync(from, to);
    return true;
  } catch (error) {
    if (hasCode(error, 'EEXIST')) return false;
    throw error;
  }
}

function ownerOf(file: string): Owner | undefined {
  try {
    return JSON.parse(readFileSync(file, 'utf8')) as Owner;
  } catch {
    return undefined;
  }
}

/** Of a process on another machine nothing is known: it counts as alive. */
function isAlive({ pid, host, born }: Owner): boolean {
  if (host !== hostname()) return true;
  try {
    process.kill(pid, 0);
  } catch (error) {
    return hasCode(error, 'EPERM');
  }
  return born === undefined || birthOf(pid) === born;
}

function birthOf(pid: number): string | undefined {
  try {
    // Field 22 of proc(5) stat; the name in parentheses may hold spaces.
    return readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ').at(-1)?.split(' ')[19];
  } catch {
    return undefined;
  }
}

function heldBy(owner: Owner | undefined, file: string): UserError {
  const who = owner ? `process ${owner.pid} on ${owner.host}` : 'another process';
  return new UserError(`this run is in use by ${who}`, {
    where: path.dirname(file),
    remedy: `Wait for it or stop it. If it is gone for sure, remove ${file}.`,
  });
}
