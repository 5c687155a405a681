/**
 * A run in an object store: the objects have the names of the files of a run's directory (docs/run-format.md), but for
 *
 *     events.jsonl, samples.jsonl           as they were at the last checkpoint
 *     events.jsonl+/SESSION-OFFSET          what was written since: whole lines that follow at that byte
 *     checkpoints/NNNNNN/manifest.json      written after all other files of the checkpoint, removed before them
 *     best, last                            the folder of a checkpoint, as a line
 *     lease.json                            who writes (store/lease.ts)
 *
 * SESSION, one training from its start to its end, is also in the metadata of the whole log: pieces of another session, such
 * as one that was cut back, are not of this log.
 */
import { existsSync, readdirSync, statSync } from 'node:fs';
import path from 'node:path';
import { BY_STEP, EVENTS, SAMPLES } from '../run/course.ts';
import { stepName } from '../run/checkpoint.ts';
import { isLock } from '../disk/lock.ts';

/** Files that grow. */
export const LOGS = [EVENTS, SAMPLES] as const;
export type Log = (typeof LOGS)[number];

export const CONFIG = 'config.yaml';
export const CHECKPOINTS = 'checkpoints';
export const MANIFEST = 'manifest.json';

export const checkpointKey = (step: number, file = ''): string => `${CHECKPOINTS}/${stepName(step)}/${file}`;

/** The step of a manifest's name; undefined for any other. */
export function manifestStep(key: string): number | undefined {
  const [, step] = /^checkpoints\/(\d{6,})\/manifest\.json$/.exec(key) ?? [];
  return step === undefined ? undefined : Number(step);
}

/** The step whose checkpoint holds a file. */
export function stepOf(key: string): number | undefined {
  const [, step] = /^checkpoints\/(\d{6,})\//.exec(key) ?? [];
  return step === undefined ? undefined : Number(step);
}

export const piecesOf = (log: Log): string => `${log}+/`;

export const pieceKey = (log: Log, session: string, offset: number): string =>
  `${piecesOf(log)}${session}-${String(offset).padStart(12, '0')}`;

export function pieceOf(key: string): { log: Log; session: string; offset: number } | undefined {
  const [, log, session, offset] = /^([a-z]+\.jsonl)\+\/([0-9a-f-]+)-(\d+)$/.exec(key) ?? [];
  return LOGS.includes(log as Log) ? { log: log as Log, session: session!, offset: Number(offset) } : undefined;
}

/** Whether a file belongs to a step: it then never changes, but goes where a run goes back behind it. */
export const isOfStep = (name: string): boolean =>
  BY_STEP.some((folder) => name.startsWith(`${folder}/`)) || name.startsWith('images/');

/** Files that are sent as they are, from the run's directory; those of branches last, which may hold checkpoints. */
export function plainFiles(directory: string): string[] {
  const found: string[] = [];
  const visit = (folder: string): void => {
    for (const entry of readdirSync(path.join(directory, folder), { withFileTypes: true })) {
      const { name } = entry;
      if (name.startsWith('.') || name.endsWith('.tmp') || isLock(name)) continue;
      const place = folder === '' ? name : `${folder}/${name}`;
      if (entry.isDirectory() && place !== CHECKPOINTS) visit(place);
      if (entry.isFile() && !LOGS.includes(place as Log) && place !== 'best' && place !== 'last') found.push(place);
    }
  };
  if (existsSync(directory)) visit('');
  const rank = (name: string): number => (name === CONFIG ? 0 : name.startsWith('branches/') ? 2 : 1);
  return found.sort((a, b) => rank(a) - rank(b) || (a < b ? -1 : 1));
}

/** Tells a file from what it was before; undefined where it is gone. */
export function signature(file: string): string | undefined {
  const stat = statSync(file, { throwIfNoEntry: false });
  return stat && `${stat.size} ${stat.mtimeMs}`;
}
