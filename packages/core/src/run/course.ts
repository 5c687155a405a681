/**
 * The course of a run on the disk: what it goes on from, what is cut off behind that, and what is kept of another course.
 * Nothing here is lost: what a run goes back over is moved to `branches/N`, what is damaged to `damaged-...`.
 */
import {
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import path from 'node:path';
import { fileError, hasCode, UserError } from '../errors.ts';
import {
  checkpointSteps,
  readCheckpoint,
  removeLeftovers,
  stepName,
  type Best,
  type Checkpoint,
} from './checkpoint.ts';
import { assertCreatable, copyFile, sync } from '../disk/durable.ts';
import { requireFile, wholeLines } from '../regular.ts';
import { readEvents, type RunEvent } from './events.ts';
import { isLock } from '../disk/lock.ts';

export const EVENTS = 'events.jsonl';

/** Files that grow by lines: a checkpoint knows how long each was. */
export const SAMPLES = 'samples.jsonl';
const LOGS = [EVENTS, SAMPLES] as const;

/** Folders with a file `NNNNNN.jsonl` for a step. */
export const BY_STEP = ['groups', 'evaluations'] as const;

/** Steps of which a run holds groups or evaluations. */
const recorded = (directory: string): number[] =>
  BY_STEP.flatMap((name) => {
    const folder = path.join(directory, name);
    return existsSync(folder)
      ? readdirSync(folder).flatMap((each) => Number(/^(\d+)\.jsonl$/.exec(each)?.[1] ?? 0))
      : [];
  });

/** Whether there is a run in a directory, or the beginning of one; a `config.yaml` alone is its user's own. */
export const isBegun = (directory: string): boolean =>
  existsSync(path.join(directory, 'config.yaml')) &&
  (existsSync(path.join(directory, EVENTS)) || checkpointSteps(path.join(directory, 'checkpoints')).length > 0);

/** Logs that are there are files, which end. @throws UserError */
export function requireLogs(directory: string): void {
  for (const file of LOGS.map((name) => path.join(directory, name)))
    if (existsSync(file)) requireFile(statSync(file), file);
}

/** @throws UserError where a directory cannot be made, or holds anything but a run that has made no step */
export function requireEmpty(directory: string): void {
  const remedy = 'Choose another output.';
  try {
    assertCreatable(directory);
  } catch (error) {
    throw fileError(error, { where: directory, remedy });
  }
  if (!existsSync(directory)) return;
  // A process killed before it wrote the configuration leaves these.
  const log = path.join(directory, EVENTS);
  const isLeft = (name: string): boolean =>
    isLock(name) ||
    name === 'config.yaml.tmp' ||
    /^config\.yaml\.\d+\.tmp$/.test(name) ||
    (name === EVENTS && !statSync(log).size);
  const entries = readdirSync(directory);
  if (entries.every(isLeft)) return;
  const isRun = isBegun(directory);
  const events = isRun && existsSync(log) ? readEvents(log) : [];
  const checkpoints = checkpointSteps(path.join(directory, 'checkpoints'));
  const all = [events.map(({ step }) => step), checkpoints, recorded(directory)].flat();
  const steps = all.reduce((most, step) => Math.max(most, step), 0);
  // Of a run that was stopped in its first step nothing is lost; one that is in it holds the lock.
  const folders = [path.join(directory, 'checkpoints'), path.join(directory, 'branches')];
  const isBare = folders.every((each) => !existsSync(each) || readdirSync(each).every((name) => name.endsWith('.tmp')));
  if (isRun && steps === 0 && isBare) return;
  throw new UserError(
    isRun ? `there already is a run here${steps > 0 ? `, of ${steps} steps` : ''}` : 'the directory is not empty',
    { where: directory, remedy: isRun ? 'Resume it (--resume), or choose another output.' : remedy },
  );
}

/** @throws UserError where there are checkpoints, but none is whole */
export async function latestCheckpoint(
  folder: string,
): Promise<{ checkpoint: Checkpoint | undefined; warnings: string[] }> {
  const warnings: string[] = [];
  for (const step of checkpointSteps(folder).reverse()) {
    const found = await readCheckpoint(folder, step);
    if (!('fault' in found)) return { checkpoint: found, warnings };
    warnings.push(
      `checkpoint ${step} is damaged and was passed over: ${found.fault}; it is kept as damaged-${stepName(step)}`,
    );
  }
  if (warnings.length === 0) return { checkpoint: undefined, warnings };
  throw new UserError(`no checkpoint is whole:\n  ${warnings.join('\n  ')}`, {
    where: folder,
    remedy: 'Restore the files, or start a run with another output.',
  });
}

/** @throws UserError where there is no whole checkpoint of a step */
export async function checkpointAt(folder: string, step: number): Promise<Checkpoint> {
  const steps = checkpointSteps(folder);
  const found = steps.includes(step) ? await readCheckpoint(folder, step) : { fault: 'there is none' };
  if (!('fault' in found)) return found;
  throw new UserError(`no checkpoint of step ${step} to go back to: ${found.fault}`, {
    where: folder,
    remedy: `There are those of ${steps.join(', ') || 'no step'}. checkpoint.keep says how many a run keeps.`,
  });
}

/**
 * A run that was killed before its first checkpoint begins anew. One that had checkpoints, which are gone, does not.
 * @throws UserError that says what would be lost
 */
export function requireNothingToLose(directory: string, events: readonly RunEvent[]): void {
  const saved = events.findLast(({ type, step }) => type === 'checkpoint' || (type === 'resume' && step > 0));
  if (!saved) return;
  throw new UserError(`there are no checkpoints any more: the logs of ${saved.step} steps would be lost`, {
    where: directory,
    remedy: 'Bring back the folder checkpoints, or start a run with another output.',
  });
}

/** Keeps damaged checkpoints under another name, so that nothing that could be mended is lost. */
export function setAside(directory: string, step: number): void {
  const folder = path.join(directory, 'checkpoints');
  for (const later of checkpointSteps(folder).filter((each) => each > step)) {
    const names = readdirSync(folder);
    const name = `damaged-${stepName(later)}`;
    const free = [name, ...names.map((_, i) => `${name}-${i + 2}`)].find((each) => !names.includes(each))!;
    renameSync(path.join(folder, stepName(later)), path.join(folder, free));
  }
}

/**
 * Keeps what a run did after a step, which it now goes back to, as `branches/N`: logs up to now, groups, checkpoints.
 * @returns where, from the run's directory; undefined where there is nothing to keep
 */
export function keepCourse(directory: string, step: number): string | undefined {
  const log = path.join(directory, EVENTS);
  const isBehind = (name: string): boolean => name.endsWith('.jsonl') && Number.parseInt(name, 10) > step;
  const steps = existsSync(log) ? readEvents(log).filter(({ type }) => type === 'step') : [];
  const later = checkpointSteps(path.join(directory, 'checkpoints')).filter((each) => each > step);
  if (later.length === 0 && !steps.some((event) => event.step > step)) return undefined;
  const folder = path.join(directory, 'branches');
  mkdirSync(folder, { recursive: true });
  const number = 1 + Math.max(0, ...readdirSync(folder).map((name) => Number.parseInt(name, 10) || 0));
  const aside = path.join(folder, `.${number}.tmp`);
  rmSync(aside, { recursive: true, force: true });
  mkdirSync(path.join(aside, 'checkpoints'), { recursive: true });
  for (const name of [...LOGS, 'config.yaml']) {
    if (existsSync(path.join(directory, name))) copyFile(path.join(directory, name), path.join(aside, name));
  }
  for (const part of BY_STEP) {
    const files = existsSync(path.join(directory, part)) ? readdirSync(path.join(directory, part)) : [];
    mkdirSync(path.join(aside, part));
    for (const name of files.filter(isBehind)) copyFile(path.join(directory, part, name), path.join(aside, part, name));
    sync(path.join(aside, part));
  }
  sync(aside);
  renameSync(aside, path.join(folder, String(number)));
  // The latest first: whatever is left is a whole run of fewer steps.
  for (const each of later.reverse()) {
    const name = path.join('checkpoints', stepName(each));
    renameSync(path.join(directory, name), path.join(folder, String(number), name));
  }
  for (const part of [folder, path.join(folder, String(number)), path.join(folder, String(number), 'checkpoints')])
    sync(part);
  return `branches/${number}`;
}

/**
 * Removes what the run wrote after a checkpoint (after its beginning, where there is none).
 * @returns a warning for each log that has less than it had at the checkpoint, as in a copy that was made while it grew
 */
export function cutBack(directory: string, checkpoint: Checkpoint | undefined): string[] {
  const step = checkpoint?.step ?? 0;
  for (const folder of ['checkpoints', 'branches', 'images', ...BY_STEP]) removeLeftovers(path.join(directory, folder));
  removeLeftovers(directory);
  for (const part of BY_STEP) {
    const folder = path.join(directory, part);
    for (const name of existsSync(folder) ? readdirSync(folder) : []) {
      if (Number.parseInt(name, 10) > step) rmSync(path.join(folder, name));
    }
  }
  const logs = checkpoint?.manifest.logs ?? {};
  return [...new Set([...LOGS, ...Object.keys(logs)])].flatMap((name) => {
    const file = path.join(directory, name);
    const [size, known] = [statSync(file, { throwIfNoEntry: false })?.size ?? 0, logs[name] ?? 0];
    if (size > known) truncateSync(file, known);
    if (size >= known) return [];
    // What is written next would become a part of a half line.
    const whole = size === 0 ? 0 : wholeLines(file);
    if (whole < size) truncateSync(file, whole);
    return [`${name} has ${whole} bytes, and had ${known} at step ${step}: what it said last is not there any more`];
  });
}

/** What a checkpoint says of the best one, which may be gone since. */
export const bestOf = (directory: string, checkpoint: Checkpoint | undefined): Best | undefined => {
  const best = checkpoint?.manifest.best;
  return best && existsSync(path.join(directory, 'checkpoints', stepName(best.step))) ? best : undefined;
};

/** `best` and `last` are links, so they open wherever a model directory does; without a step there is none. */
export function pointTo(directory: string, name: 'best' | 'last', step: number | undefined): void {
  const link = path.join(directory, name);
  // A copy that follows links has made a folder of it.
  if (lstatSync(link, { throwIfNoEntry: false })?.isDirectory()) rmSync(link, { recursive: true });
  if (step === undefined) {
    rmSync(link, { force: true });
    sync(directory);
    return;
  }
  const aside = `${link}.tmp`;
  rmSync(aside, { force: true });
  const target = path.join('checkpoints', stepName(step));
  try {
    symlinkSync(target, aside);
  } catch (error) {
    // A file that says the same, where the file system has no links.
    if (!['EPERM', 'ENOTSUP', 'ENOSYS', 'EOPNOTSUPP'].some((code) => hasCode(error, code))) throw error;
    writeFileSync(aside, `${target}\n`);
  }
  renameSync(aside, link);
  sync(directory);
}
