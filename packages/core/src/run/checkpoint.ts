/**
 * Checkpoints: `checkpoints/NNNNNN/` with the files of a step, `state.json`, and `manifest.json`, which has the size and
 * sha256 of every file, the length of every log at that moment, and its own sha256.
 *
 * A checkpoint is written aside, synced and renamed, so a directory with a six-digit name is whole; the manifest proves it.
 */
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { removing } from '@visurf/torch/signals';
import { z } from 'zod';
import { hasCode, messageOf, UserError } from '../errors.ts';
import { removeQuietly, sha256, sync } from '../disk/durable.ts';
import { isLock } from '../disk/lock.ts';
import { isPath, readText, requireFile } from '../regular.ts';

const best = z.object({ step: z.int(), metric: z.string(), value: z.number() });

/** The checkpoint with the best value of a metric so far. */
export type Best = z.output<typeof best>;

const manifestSchema = z.object({
  version: z.literal(2),
  step: z.int().min(0),
  configHash: z.string(),
  environment: z.record(z.string(), z.union([z.string(), z.number(), z.boolean(), z.null()])),
  /** Bytes of each log that belong to steps up to this one, by path in the run directory. */
  logs: z.record(z.string(), z.int().min(0)),
  best: best.optional(),
  files: z.record(z.string().refine(isPath), z.object({ bytes: z.int().min(0), sha256: z.string() })),
  /** Of the manifest without this. */
  sha256: z.string(),
});
export type Manifest = z.output<typeof manifestSchema>;

/** What a checkpoint is made of. */
export interface CheckpointContent {
  /** By file name (also `folder/name`): writes the file at the path it is given. */
  readonly files: Readonly<Record<string, (file: string) => void | Promise<void>>>;
  /** Everything else as JSON: random state, data cursor, counters. */
  readonly state: unknown;
}

export interface Checkpoint {
  readonly step: number;
  readonly directory: string;
  readonly manifest: Manifest;
  readonly state: unknown;
}

/** Writes a checkpoint; one of the same step is replaced. Returns its directory. */
export async function writeCheckpoint(
  folder: string,
  content: CheckpointContent,
  facts: Omit<Manifest, 'version' | 'files' | 'sha256'>,
): Promise<string> {
  const name = stepName(facts.step);
  const aside = path.join(folder, `.${name}.tmp`);
  const directory = path.join(folder, name);
  const replaced = path.join(folder, replacedName(facts.step));
  putBackReplaced(folder);
  for (const left of [aside, replaced]) rmSync(left, { recursive: true, force: true });
  try {
    await removing(aside, async () => {
      await fill(aside, content, facts);
      if (existsSync(directory)) renameSync(directory, replaced);
      renameSync(aside, directory);
    });
  } catch (error) {
    removeQuietly(aside);
    try {
      putBackReplaced(folder);
    } catch {
      // The next start puts it back.
    }
    throw error;
  }
  sync(folder);
  rmSync(replaced, { recursive: true, force: true });
  return directory;
}

/** Beside a checkpoint that takes its place: for a moment it is the only one of its step. */
const replacedName = (step: number): string => `.${stepName(step)}.old.tmp`;

/** Checkpoints whose successors never took their places, where a process ended between: they are whole. */
export function putBackReplaced(folder: string): void {
  for (const name of existsSync(folder) ? readdirSync(folder) : []) {
    const step = Number(/^\.(\d{6,})\.old\.tmp$/.exec(name)?.[1] ?? NaN);
    if (Number.isNaN(step) || existsSync(path.join(folder, stepName(step)))) continue;
    renameSync(path.join(folder, name), path.join(folder, stepName(step)));
  }
}

async function fill(
  aside: string,
  content: CheckpointContent,
  facts: Omit<Manifest, 'version' | 'files' | 'sha256'>,
): Promise<void> {
  mkdirSync(aside, { recursive: true });
  const writers: CheckpointContent['files'] = {
    ...content.files,
    'state.json': (file: string) => writeFileSync(file, JSON.stringify(content.state)),
  };
  const files: Manifest['files'] = {};
  for (const [file, write] of Object.entries(writers)) {
    const full = path.join(aside, file);
    mkdirSync(path.dirname(full), { recursive: true });
    await write(full);
    sync(full);
    if (path.dirname(full) !== aside) sync(path.dirname(full));
    files[file] = { bytes: statSync(full).size, sha256: await sha256(full) };
  }
  const manifest = { version: 2 as const, ...facts, files };
  writeFileSync(
    path.join(aside, 'manifest.json'),
    `${JSON.stringify({ ...manifest, sha256: hashOf(manifest) }, null, 1)}\n`,
  );
  sync(path.join(aside, 'manifest.json'));
  sync(aside);
}

/** Of what a manifest says; what is undefined is not said. */
function hashOf(manifest: Omit<Manifest, 'sha256'>): string {
  return createHash('sha256').update(JSON.stringify(manifest)).digest('hex');
}

/** Steps that have a checkpoint, ascending. */
export function checkpointSteps(folder: string): number[] {
  if (!existsSync(folder)) return [];
  const names = readdirSync(folder).filter((name) => /^\d{6,}$/.test(name));
  return names.map(Number).sort((a, b) => a - b);
}

/** What the manifest in a checkpoint's directory says, whether or not that is so; undefined where it is none. */
export function manifestIn(directory: string): Manifest | undefined {
  try {
    return manifestSchema.parse(JSON.parse(readText(path.join(directory, 'manifest.json'))));
  } catch {
    return undefined;
  }
}

/** Reads and verifies a checkpoint: every file, every byte. Gives the reason where it is not whole. */
export async function readCheckpoint(folder: string, step: number): Promise<Checkpoint | { fault: string }> {
  const directory = path.join(folder, stepName(step));
  try {
    const written: unknown = JSON.parse(readText(path.join(directory, 'manifest.json')));
    const manifest = manifestSchema.parse(written);
    const { sha256: own, ...said } = written as Manifest;
    if (hashOf(said) !== own) return { fault: 'manifest.json has other bytes than it says' };
    if (manifest.step !== step) return { fault: `it is that of step ${manifest.step}` };
    const fault = await faultOfFiles(directory, manifest);
    if (fault !== undefined) return { fault };
    const state: unknown = JSON.parse(readText(path.join(directory, 'state.json')));
    return { step, directory, manifest, state };
  } catch (error) {
    return { fault: messageOf(error) };
  }
}

async function faultOfFiles(directory: string, { files }: Manifest): Promise<string | undefined> {
  for (const [name, { bytes, sha256: expected }] of Object.entries(files)) {
    const file = path.join(directory, name);
    requireFile(statSync(file), name);
    if (statSync(file).size !== bytes) return `${name} has another size than its manifest says`;
    if ((await sha256(file)) !== expected) return `${name} has other bytes than its manifest says`;
  }
  return undefined;
}

/** @throws UserError where weights in the directory of a checkpoint are not what was saved; any other directory is none */
export async function requireWholeWeights(directory: string): Promise<void> {
  const manifest = manifestIn(directory);
  if (!manifest) return;
  const isWeights = (name: string): boolean => /^(adapter_)?model\.safetensors$/.test(name);
  const files = Object.fromEntries(Object.entries(manifest.files).filter(([name]) => isWeights(name)));
  let fault: string | undefined;
  try {
    fault = await faultOfFiles(directory, { ...manifest, files });
  } catch (error) {
    // What is not there is said by who reads it.
    if (error instanceof UserError || !hasCode(error, 'ENOENT')) throw error;
  }
  if (fault === undefined) return;
  throw new UserError(`the checkpoint is damaged: ${fault}`, {
    where: directory,
    remedy:
      'Take another checkpoint of the run, or restore the file; if it was changed on purpose, remove manifest.json.',
  });
}

export function removeCheckpoint(folder: string, step: number): void {
  // Under another name first: a directory with a step's name is whole.
  const aside = path.join(folder, `.${stepName(step)}.tmp`);
  rmSync(aside, { recursive: true, force: true });
  renameSync(path.join(folder, stepName(step)), aside);
  rmSync(aside, { recursive: true, force: true });
}

/** Removes what a killed process left half written or half removed. */
export function removeLeftovers(folder: string): void {
  for (const name of existsSync(folder) ? readdirSync(folder) : []) {
    if (name.endsWith('.tmp') && !isLock(name)) rmSync(path.join(folder, name), { recursive: true, force: true });
  }
}

export function stepName(step: number): string {
  return String(step).padStart(6, '0');
}
