/**
 * The directory of a run whose output is in a store, before the first step: empty, the copy that this machine has, or
 * fetched. The copy counts as long as nobody has trained the run elsewhere since; else it is set aside, never deleted.
 */
import { randomUUID } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, renameSync } from 'node:fs';
import path from 'node:path';
import { UserError } from '../errors.ts';
import { replaceFile } from '../disk/durable.ts';
import { checkpointSteps } from '../run/checkpoint.ts';
import { addressOf } from '../store/address.ts';
import { findLease, Lease, LEASE, type Found } from '../store/lease.ts';
import type { ObjectStore, StoredObject } from '../store/store.ts';
import { fetchRun } from './fetch.ts';
import { CHECKPOINTS, CONFIG, manifestStep } from './layout.ts';

export interface Prepared {
  readonly lease: Lease;
  readonly session: string;
}

export interface PrepareOptions {
  /** `ifBegun`: where there is a run. */
  readonly resume: boolean | 'ifBegun';
  readonly step: number | undefined;
  readonly onWarning: (message: string) => void;
  readonly onProgress: (done: number, total: number) => void;
}

/** Trainings of this machine that wrote, or were about to: beside the run's directory. */
interface Sessions {
  readonly sessions: readonly string[];
}

/** Takes the lease and makes the directory ready. @throws UserError where the run is in use, or there is one or none */
export async function prepare(store: ObjectStore, directory: string, options: PrepareOptions): Promise<Prepared> {
  for (;;) {
    const found = await findLease(store);
    const objects = (await store.list()).filter(({ key }) => key !== LEASE);
    const isThere = objects.some(({ key }) => key === CONFIG) || existsSync(path.join(directory, CONFIG));
    const resumes = options.resume === 'ifBegun' ? isThere : options.resume;
    if (!resumes) requireNoRun(store, objects);
    const own = sessionsOf(directory);
    // Said by the lease as it is, whoever holds it: it may not be looked at again once it is ours.
    if (!isLatest(directory, found, own, objects)) setAside(directory, options);
    const session = randomUUID();
    rememberSessions(directory, [...own, session]);
    const lease = await Lease.take(store, session, found, own);
    if (!lease) continue;
    try {
      if (!lease.isGuarded) {
        options.onWarning(
          `${addressOf(store.address)}: the store knows no conditional writes, so nothing keeps two machines from ` +
            'writing this run at the same time',
        );
      }
      if (resumes && !existsSync(path.join(directory, CONFIG))) await fetch(store, directory, options);
      rememberSessions(directory, [session]);
      return { lease, session };
    } catch (error) {
      await lease.release().catch(() => undefined);
      throw error;
    }
  }
}

function requireNoRun(store: ObjectStore, objects: readonly StoredObject[]): void {
  const isRun = objects.some(({ key }) => key === CONFIG);
  // Of a run that was stopped before its first step nothing is lost.
  if (isRun && !objects.some(({ key }) => /^(checkpoints|groups|evaluations|branches)\//.test(key))) return;
  if (objects.length === 0) return;
  throw new UserError(isRun ? 'there already is a run here' : 'there are other objects here', {
    where: addressOf(store.address),
    remedy: isRun ? 'Resume it (--resume), or choose another output.' : 'Choose another output.',
  });
}

/** Whether nothing has been written to the store since this machine did, so that what is here is all there is. */
function isLatest(
  directory: string,
  found: Found | undefined,
  own: readonly string[],
  objects: readonly StoredObject[],
): boolean {
  if (!existsSync(directory)) return true;
  const isStored = objects.some(({ key }) => key === CONFIG);
  // Never sent, or removed there.
  if (!isStored) return own.length > 0 && found?.claim.session !== undefined ? own.includes(found.claim.session) : true;
  const lacksCheckpoints =
    checkpointSteps(path.join(directory, CHECKPOINTS)).length === 0 &&
    objects.some(({ key }) => manifestStep(key) !== undefined);
  return found !== undefined && own.includes(found.claim.session) && !lacksCheckpoints;
}

function setAside(directory: string, { onWarning }: PrepareOptions): void {
  const free = Array.from({ length: 10_000 }, (_, i) => `${directory}.superseded-${i + 1}`).find(
    (each) => !existsSync(each),
  );
  renameSync(directory, free!);
  onWarning(`the run was trained elsewhere since; what this machine had of it is kept in ${free}`);
}

async function fetch(store: ObjectStore, directory: string, options: PrepareOptions): Promise<void> {
  const { step, onWarning, onProgress } = options;
  await fetchRun(store, directory, { checkpoints: 'best and last', step, onWarning, onProgress });
}

const sessionsFile = (directory: string): string => path.join(path.dirname(directory), 'sessions.json');

function sessionsOf(directory: string): readonly string[] {
  try {
    const { sessions } = JSON.parse(readFileSync(sessionsFile(directory), 'utf8')) as Sessions;
    return sessions.filter((each) => typeof each === 'string');
  } catch {
    // None: then nothing here is known to be the latest.
    return [];
  }
}

function rememberSessions(directory: string, sessions: readonly string[]): void {
  mkdirSync(path.dirname(directory), { recursive: true });
  replaceFile(sessionsFile(directory), `${JSON.stringify({ sessions } satisfies Sessions)}\n`);
}
