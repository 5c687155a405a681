/**
 * One process at a time writes a run. Whoever wants to puts a claim beside it, a file `lock.NAME` with a name of its own,
 * and then looks for others: of two, the later one to claim sees the earlier. A claim is never taken over, only found dead
 * and removed, so no two ever hold a run at once.
 *
 * A claim of this machine is dead when its process is. One of another machine, or of another container, is dead when it
 * was not renewed for a while: the holder writes into it every few seconds, in a thread, since steps are long. The times that
 * are compared are both the file system's, so clocks need not agree.
 */
import { randomBytes } from 'node:crypto';
import {
  closeSync,
  existsSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { hostname } from 'node:os';
import path from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';
import { gone, kept } from '@visurf/torch/signals';
import { UserError } from '../errors.ts';
import { readText } from '../regular.ts';
import { removeQuietly } from './durable.ts';

interface Claim {
  readonly pid: number;
  readonly host: string;
  /** The kernel that counts its processes: of one boot, in one container. */
  readonly kernel: string;
  /** When the process began, as the kernel counts it: tells a process from a later one with the same number. */
  readonly born: string | undefined;
  /** 1: the others were looked at, and none lives. The last field, so that one byte says it. */
  readonly held: 0 | 1;
}

export interface Lock {
  /** @throws UserError where the claim is gone: another process has found it dead */
  check(): void;
  release(): void;
}

const NAME = /^lock\.[0-9a-f]{12}(\.tmp)?$/;
/** Milliseconds between renewals, and after which a claim that was not renewed is dead. */
export const RENEWAL = 5_000;
export const LEASE = 60_000;
/** Two that claim at the same time both step back, this often, for as many milliseconds at most. */
const ATTEMPTS = 20;
const STEP_BACK = 50;

/** Whether a file of a run's directory is a lock, held or left. */
export const isLock = (name: string): boolean => NAME.test(name);

/**
 * Takes the lock of a directory, from a dead process where need be.
 * @throws UserError where another process holds it
 */
export function lockRun(directory: string): Lock {
  for (let attempt = 1; ; attempt++) {
    const file = path.join(directory, `lock.${randomBytes(6).toString('hex')}`);
    let rival: Rival | undefined;
    try {
      const size = announce(file);
      rival = rivalOf(file);
      if (!rival) {
        overwrite(file, '1', size - HELD.length);
        kept(file);
        return heldBy(file);
      }
    } catch (error) {
      for (const left of [file, `${file}.tmp`]) removeQuietly(left);
      throw error;
    }
    rmSync(file, { force: true });
    if (rival.claim?.held || attempt === ATTEMPTS) throw inUse(rival);
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1 + Math.random() * STEP_BACK);
  }
}

/** The same for a directory that processes share: waits for its turn, asking every so many milliseconds. */
export async function lockDirectory(directory: string, interval: number): Promise<Lock> {
  for (;;) {
    try {
      return lockRun(directory);
    } catch (error) {
      if (!(error instanceof UserError)) throw error;
      await setTimeout(interval);
    }
  }
}

/** What a claim ends with: the byte that says whether it is held, and what closes it. */
const HELD = '0}\n';

/** @returns bytes of the claim, which is there whole or not at all */
function announce(file: string): number {
  const claim: Claim = { pid: process.pid, host: hostname(), kernel: kernel(), born: birthOf(process.pid), held: 0 };
  const text = `${JSON.stringify(claim)}\n`;
  writeFileSync(`${file}.tmp`, text);
  renameSync(`${file}.tmp`, file);
  return Buffer.byteLength(text);
}

/** In place: to rename it again could hide the claim from one who looks at the same time. */
function overwrite(file: string, text: string, at: number): void {
  const descriptor = openSync(file, 'r+');
  try {
    writeSync(descriptor, text, at);
  } finally {
    closeSync(descriptor);
  }
}

interface Rival {
  readonly file: string;
  /** Undefined while it is being written. */
  readonly claim: Claim | undefined;
  /** Milliseconds since it was renewed. */
  readonly age: number;
}

/** Another claim that lives; dead ones are removed. */
function rivalOf(own: string): Rival | undefined {
  const directory = path.dirname(own);
  const now = statSync(own).mtimeMs;
  const others = readdirSync(directory).filter((name) => isLock(name) && name !== path.basename(own));
  const living = others.flatMap((name): Rival[] => {
    const file = path.join(directory, name);
    const stats = statSync(file, { throwIfNoEntry: false });
    if (!stats) return [];
    const rival = { file, claim: claimOf(file), age: now - stats.mtimeMs };
    // One that was not announced.
    if (name.endsWith('.tmp') && rival.age < LEASE) return [];
    if (!name.endsWith('.tmp') && isAlive(rival)) return [rival];
    rmSync(file, { force: true });
    return [];
  });
  return living.sort((a, b) => Number(b.claim?.held ?? false) - Number(a.claim?.held ?? false))[0];
}

function claimOf(file: string): Claim | undefined {
  try {
    return JSON.parse(readText(file)) as Claim;
  } catch {
    return undefined;
  }
}

function isAlive({ claim, age }: Rival): boolean {
  if (claim?.kernel !== kernel()) return age < LEASE;
  try {
    process.kill(claim.pid, 0);
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
  return claim.born === undefined || birthOf(claim.pid) === claim.born;
}

function kernel(): string {
  try {
    return `${readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim()} ${readlinkSync('/proc/self/ns/pid')}`;
  } catch {
    return hostname();
  }
}

function birthOf(pid: number): string | undefined {
  try {
    // Field 22 of proc(5) stat; the name in parentheses may hold spaces.
    return readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ').at(-1)?.split(' ')[19];
  } catch {
    return undefined;
  }
}

function heldBy(file: string): Lock {
  let renewing: Worker | undefined;
  const begin = globalThis.setTimeout(() => {
    renewing = renew(file);
  }, RENEWAL);
  begin.unref();
  return {
    check() {
      if (existsSync(file) || !existsSync(path.dirname(file))) return;
      throw new UserError('another process has taken this run over', {
        where: path.dirname(file),
        remedy: 'This one was stopped for too long to be told from a dead one. Let the other go on.',
      });
    },
    release() {
      clearTimeout(begin);
      void renewing?.terminate();
      rmSync(file, { force: true });
      gone(file);
    },
  };
}

/** A thread that renews a claim while the process lives. */
export function renew(file: string, interval = RENEWAL): Worker {
  const extension = import.meta.url.endsWith('.ts') ? 'ts' : 'js';
  const worker = new Worker(new URL(`./lock-thread.${extension}`, import.meta.url), {
    workerData: { file, interval },
    execArgv: [],
  });
  worker.unref();
  // What cannot be renewed is told from a dead one by check().
  worker.on('error', () => undefined);
  return worker;
}

function inUse({ file, claim, age }: Rival): UserError {
  const who = claim ? `process ${claim.pid} on ${claim.host}` : 'another process';
  const elsewhere = claim?.kernel !== kernel();
  const left = Math.max(1, Math.ceil((LEASE - age) / 1000));
  return new UserError(`this run is in use by ${who}`, {
    where: path.dirname(file),
    remedy: elsewhere
      ? `Wait for it or stop it. If it is gone, the run is free in ${left} s.`
      : `Wait for it or stop it. If it is gone for sure, remove ${file}.`,
  });
}
