/** A run as it is in a store, as a directory of this machine: whole, or not there. */
import {
  createReadStream,
  createWriteStream,
  existsSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { stat } from 'node:fs/promises';
import path from 'node:path';
import { pipeline } from 'node:stream/promises';
import { removing } from '@visurf/torch/signals';
import { UserError } from '../errors.ts';
import { EVENTS } from '../run/course.ts';
import { manifestIn, stepName, type Manifest } from '../run/checkpoint.ts';
import { addressOf } from '../store/address.ts';
import { isMissing } from '../store/failure.ts';
import { LEASE } from '../store/lease.ts';
import { inParallel, type ObjectStore, type StoredObject } from '../store/store.ts';
import {
  CHECKPOINTS,
  checkpointKey,
  CONFIG,
  isOfStep,
  LOGS,
  MANIFEST,
  manifestStep,
  pieceOf,
  piecesOf,
  plainFiles,
  type Log,
} from './layout.ts';

const PARALLEL = 8;
/** A run that is written while it is read is looked at anew, so often. */
const ATTEMPTS = 5;

/** Which checkpoints come along. */
export type Wanted = 'none' | 'best' | 'last' | 'best and last';

export interface FetchOptions {
  readonly checkpoints: Wanted;
  /** A checkpoint that must come along. */
  readonly step?: number | undefined;
  /** False: of the records only what a model needs. */
  readonly records?: boolean;
  readonly onWarning?: (message: string) => void;
  readonly onProgress?: (done: number, total: number) => void;
}

/**
 * Fetches a run into a directory that is not there.
 * @returns steps whose checkpoints are there
 * @throws UserError where there is none
 */
export async function fetchRun(store: ObjectStore, directory: string, options: FetchOptions): Promise<number[]> {
  const aside = `${directory}.fetching.tmp`;
  for (let attempt = 1; ; attempt++) {
    rmSync(aside, { recursive: true, force: true });
    mkdirSync(aside, { recursive: true });
    try {
      return await removing(aside, async () => {
        const steps = await fill(store, aside, options);
        renameSync(aside, directory);
        return steps;
      });
    } catch (error) {
      rmSync(aside, { recursive: true, force: true });
      // Removed between the list and the request.
      if (!isMissing(error) || attempt === ATTEMPTS) throw error;
    }
  }
}

async function fill(store: ObjectStore, directory: string, options: FetchOptions): Promise<number[]> {
  const objects = await requireRun(store);
  const steps = await fetchCheckpoints(store, directory, objects, options);
  if (options.records ?? true) await pullRecords(store, directory, objects, options.onProgress);
  else await store.download(CONFIG, path.join(directory, CONFIG));
  const events = path.join(directory, EVENTS);
  // A run whose machine died before its log was sent has none yet.
  if (!existsSync(events) && (options.records ?? true)) writeFileSync(events, '');
  if (steps.length === 0) forgetCheckpoints(events);
  return steps;
}

/** Objects that are fetched as they are. */
const isRecord = ({ key }: StoredObject): boolean =>
  ![LEASE, 'best', 'last', ...LOGS].includes(key) &&
  !/^(branches\/\d+\/)?checkpoints\//.test(key) &&
  pieceOf(key) === undefined;

/** Makes a directory hold the records of a run as they are now, whatever of them it held. @returns whether anything changed */
export async function pullRecords(
  store: ObjectStore,
  directory: string,
  objects: readonly StoredObject[],
  onProgress: (done: number, total: number) => void = () => undefined,
): Promise<boolean> {
  const records = objects.filter(isRecord);
  const sizeOf = (key: string): number | undefined =>
    statSync(path.join(directory, key), { throwIfNoEntry: false })?.size;
  const wanted = records.filter(({ key, bytes }) => sizeOf(key) !== bytes);
  let done = 0;
  await inParallel(PARALLEL, wanted, async ({ key }) => {
    await whole(path.join(directory, key), (file) => store.download(key, file));
    onProgress(++done, wanted.length);
  });
  const known = new Set(records.map(({ key }) => key));
  const gone = plainFiles(directory).filter((name) => isOfStep(name) && !known.has(name));
  for (const name of gone) rmSync(path.join(directory, name));
  let isNew = wanted.length > 0 || gone.length > 0;
  for (const log of LOGS) {
    const parts = objects.filter(({ key }) => key === log || key.startsWith(piecesOf(log)));
    // What a log is made of tells whether it is another.
    if (parts.length === 0 || parts.reduce((sum, { bytes }) => sum + bytes, 0) === sizeOf(log)) continue;
    await whole(path.join(directory, log), (file) => fetchLog(store, file, log));
    isNew = true;
  }
  return isNew;
}

/** A file that is there as a whole or not at all. */
async function whole(file: string, write: (aside: string) => Promise<unknown>): Promise<void> {
  await write(`${file}.tmp`);
  renameSync(`${file}.tmp`, file);
}

/** @throws UserError where there is no run */
async function requireRun(store: ObjectStore): Promise<StoredObject[]> {
  const objects = await store.list();
  if (objects.some(({ key }) => key === CONFIG)) return objects;
  throw new UserError('there is no run', {
    where: addressOf(store.address),
    remedy: objects.length === 0 ? 'Check the bucket and the prefix.' : 'The prefix is that of something else.',
  });
}

/** The whole log, and the pieces that follow it. */
async function fetchLog(store: ObjectStore, file: string, log: Log): Promise<void> {
  const pieces = (await store.list(piecesOf(log))).flatMap(({ key }) => {
    const piece = pieceOf(key);
    return piece ? [{ key, ...piece }] : [];
  });
  const { metadata } = await store.download(log, file);
  // Between: the log was written anew, and its pieces are in it.
  const follow = pieces.filter((piece) => piece.session === metadata['session']).sort((a, b) => a.offset - b.offset);
  for (const { key, offset } of follow) {
    const { size } = await stat(file);
    if (offset < size) continue;
    if (offset > size) break;
    const part = `${file}.part.tmp`;
    await store.download(key, part);
    await pipeline(createReadStream(part), createWriteStream(file, { flags: 'a' }));
    rmSync(part);
  }
}

/** A run of which no checkpoint reached the store begins anew: its log must not say that there were some. */
function forgetCheckpoints(events: string): void {
  if (!existsSync(events)) return;
  const lines = readFileSync(events, 'utf8').split('\n');
  const isSaved = /^\{[^{}[\]]*("type":"checkpoint"|"type":"resume","step":[1-9])/;
  writeFileSync(events, lines.filter((line) => !isSaved.test(line)).join('\n'));
}

async function fetchCheckpoints(
  store: ObjectStore,
  directory: string,
  objects: readonly StoredObject[],
  { checkpoints: wanted, step: asked, onWarning = () => undefined }: FetchOptions,
): Promise<number[]> {
  const folder = path.join(directory, CHECKPOINTS);
  mkdirSync(folder, { recursive: true });
  const steps = objects.flatMap(({ key }) => manifestStep(key) ?? []).sort((a, b) => b - a);
  const got: number[] = [];
  const get = async (step: number): Promise<boolean> => {
    if (got.includes(step)) return true;
    const fault = await fetchCheckpoint(store, folder, step);
    if (fault === undefined) got.push(step);
    else onWarning(`checkpoint ${step} in the store is damaged and was passed over: ${fault}`);
    return fault === undefined;
  };
  if (asked !== undefined && steps.includes(asked)) await get(asked);
  if (wanted === 'none') return got;
  const best = await bestStep(store, steps);
  if (wanted !== 'last' && best !== undefined && (await get(best)) && wanted === 'best') return got;
  for (const step of steps) if (await get(step)) break;
  if (got.length > 0 || steps.length === 0) return got.sort((a, b) => a - b);
  throw new UserError('no checkpoint in the store is whole', {
    where: addressOf(store.address),
    remedy: 'Restore its objects (versions of the bucket may have them), or start a run with another output.',
  });
}

/** As the latest checkpoint says, where that is there. */
async function bestStep(store: ObjectStore, steps: readonly number[]): Promise<number | undefined> {
  if (steps.length === 0) return undefined;
  const content = await store.read(checkpointKey(steps[0]!, MANIFEST));
  try {
    const best = (JSON.parse(content?.body.toString() ?? '') as Manifest).best?.step;
    return best !== undefined && steps.includes(best) ? best : undefined;
  } catch {
    return undefined;
  }
}

/** @returns what is wrong with it, where it is damaged: it is not there then */
async function fetchCheckpoint(store: ObjectStore, folder: string, step: number): Promise<string | undefined> {
  const directory = path.join(folder, stepName(step));
  const damaged = (fault: string): string => {
    rmSync(directory, { recursive: true, force: true });
    return fault;
  };
  await store.download(checkpointKey(step, MANIFEST), path.join(directory, MANIFEST));
  const manifest = manifestIn(directory);
  if (!manifest) return damaged('its manifest is none');
  for (const [name, { sha256 }] of Object.entries(manifest.files)) {
    try {
      const { sha256: digest } = await store.download(checkpointKey(step, name), path.join(directory, name));
      if (digest !== sha256) return damaged(`${name} has other bytes than its manifest says`);
    } catch (error) {
      if (!isMissing(error)) throw error;
      // Being removed: the list is old then.
      if ((await store.read(checkpointKey(step, MANIFEST))) === undefined) throw error;
      return damaged(`${name} is missing`);
    }
  }
  return undefined;
}
