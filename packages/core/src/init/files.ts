/** The files of data that `init` makes of a set: parts that share no picture. */
import { existsSync, rmSync } from 'node:fs';
import { readFile, rename, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { checkData } from '../check.ts';
import { permutation } from '../data/cursor.ts';
import { importData } from '../data/import.ts';
import { splitData, type Part } from '../data/split.ts';
import { openSource, splitsIn } from '../data/formats/source.ts';
import type { RowOptions } from '../data/formats/formats.ts';
import { UserError } from '../errors.ts';
import { kindOf } from './survey.ts';

export interface PartsOptions extends Pick<RowOptions, 'format' | 'boxes' | 'units' | 'split' | 'ask' | 'classes'> {
  readonly allowOutside?: boolean | undefined;
  /** Whether questions with nothing to find stay, however many they are. */
  readonly keepsEmpty: boolean;
  /** Share that is held out where the set does not say what is. */
  readonly validation: number;
  readonly seed: number;
  readonly signal?: AbortSignal | undefined;
}

export interface Parts {
  readonly format: string;
  /** Lines by part. */
  readonly n: Readonly<Partial<Record<Part, number>>>;
  /** How the set was read, and parted. */
  readonly notes: readonly string[];
}

/** Where lines lie between import and split. */
const BETWEEN = 'samples.jsonl';

export const partFile = (part: Part): string => `${part}.jsonl`;

/** All files that may be written. */
export const PART_FILES: readonly string[] = [...(['train', 'validation', 'test'] as const).map(partFile), BETWEEN];

/**
 * Writes train.jsonl and validation.jsonl, and test.jsonl where the set has such a part, into a folder. Parts of the set
 * are kept as long as they share no picture.
 * @throws UserError where the set cannot be read
 */
export async function makeParts(source: string, folder: string, options: PartsOptions): Promise<Parts> {
  const made = await partsOf(source, folder, options);
  if (options.keepsEmpty) return made;
  return await thinned(folder, made, options).catch((error: unknown) => {
    if (!(error instanceof Unmarked)) throw error;
    for (const part of Object.keys(made.n) as Part[]) rmSync(path.join(folder, partFile(part)), { force: true });
    throw new UserError('nothing is marked in it: [] would be the answer to every question', {
      where: source,
      remedy: `How it was read: ${made.notes.join('; ')}.`,
    });
  });
}

/** No question of training has anything to find. */
class Unmarked extends Error {}

async function thinned(folder: string, made: Parts, options: PartsOptions): Promise<Parts> {
  const n = { ...made.n };
  const thinner: string[] = [];
  for (const part of Object.keys(n) as Part[]) {
    const left = await thinEmpty(path.join(folder, partFile(part)), options.seed);
    if (left === 0) continue;
    n[part] = n[part]! - left;
    thinner.push(`${left} of ${part}`);
  }
  if (thinner.length === 0) return made;
  const note = `questions whose answer is [] are left out until they are half of all: ${thinner.join(', ')} (--keep-empty keeps them)`;
  return { ...made, n, notes: [...made.notes, note] };
}

async function partsOf(source: string, folder: string, options: PartsOptions): Promise<Parts> {
  const { format, boxes, units, ask, classes, allowOutside, signal } = options;
  const own = options.split === undefined ? splitsOf(source) : [];
  const to = (part: Part): string => path.join(folder, partFile(part));
  if (!own.includes('train') || !own.includes('validation')) return await partAnew(source, folder, options, []);
  const parts = (['train', 'validation', 'test'] as const).filter((part) => own.includes(part));
  const made = [];
  for (const part of parts) {
    const reading = { format, boxes, units, ask, classes, allowOutside, signal };
    made.push(await importData(source, { ...reading, split: part, output: to(part) }));
  }
  const leaks = await leaksBetween(to('train'), to('validation'), signal);
  if (leaks === 0) {
    const notes = made.flatMap((each, i) => each.notes.map((note) => `${parts[i]!}: ${note}`));
    const n = Object.fromEntries(made.map((each, i) => [parts[i]!, each.n]));
    return { format: made[0]!.format, n, notes: [...notes, `its own parts are kept: ${parts.join(', ')}`] };
  }
  for (const part of parts) rmSync(to(part));
  return await partAnew(source, folder, options, [`its own parts share ${leaks} pictures: it is parted anew`]);
}

async function partAnew(
  source: string,
  folder: string,
  options: PartsOptions,
  said: readonly string[],
): Promise<Parts> {
  const { format, boxes, units, ask, classes, split, allowOutside, signal, validation, seed } = options;
  const between = path.join(folder, BETWEEN);
  try {
    const reading = { format, boxes, units, ask, classes, split, allowOutside, signal };
    const imported = await importData(source, { ...reading, output: between });
    const asked = { task: 'grounding', allowOutside, signal };
    const n = await splitData(between, { ...asked, output: folder, validation, test: 0, seed }).catch(
      (error: unknown) => {
        // Lines of our own are those of the set, which stays.
        if (!(error instanceof UserError) || imported.format !== 'visurf' || imported.leftOut > 0) throw error;
        const named = (text = ''): string => text.replaceAll(between, source);
        throw new UserError(named(error.reason), { where: error.where && named(error.where), remedy: error.remedy });
      },
    );
    const how = `${Math.round(100 * validation)}% of the samples are held out, whole pictures at a time`;
    return { format: imported.format, n, notes: [...imported.notes, ...said, how] };
  } finally {
    rmSync(between, { force: true });
  }
}

/** Share of `[]` beyond which a policy learns little else than to say that. */
const MOST_EMPTY = 0.6;

/** Takes lines whose answer is `[]` out of a file where they are most of it, until they are half. @returns how many */
async function thinEmpty(file: string, seed: number): Promise<number> {
  const lines = (await readFile(file, 'utf8')).split('\n').filter((line) => line !== '');
  const empty = lines.flatMap((line, i) => (isEmpty(line) ? [i] : []));
  const kept = lines.length - empty.length;
  if (kept === 0 && path.basename(file) === partFile('train')) throw new Unmarked();
  if (kept === 0 || empty.length <= MOST_EMPTY * lines.length) return 0;
  const order = permutation(empty.length, seed, 0);
  const left = new Set([...order].slice(kept).map((place) => empty[place]!));
  await writeFile(`${file}.part`, lines.flatMap((line, i) => (left.has(i) ? [] : [`${line}\n`])).join(''));
  await rename(`${file}.part`, file);
  return left.size;
}

function isEmpty(line: string): boolean {
  const { task = 'grounding', solution } = JSON.parse(line) as { task?: string; solution: unknown };
  return kindOf({ task, solution: typeof solution === 'string' ? solution : JSON.stringify(solution) }) === 'absent';
}

function splitsOf(source: string): string[] {
  const { isFolder, files, root } = openSource(source);
  return isFolder ? splitsIn(files, root) : [];
}

async function leaksBetween(train: string, validation: string, signal?: AbortSignal): Promise<number> {
  const { findings } = await checkData(train, { validation, signal });
  return findings.filter(({ kind }) => kind === 'leak').length;
}

/** @throws UserError where something would be overwritten */
export function requireFree(folder: string, names: readonly string[], overwrite: boolean): void {
  const there = names.filter((name) => existsSync(path.join(folder, name)));
  if (there.length === 0 || overwrite) return;
  throw new UserError(`${there.join(', ')} ${there.length === 1 ? 'is' : 'are'} here already`, {
    where: folder,
    remedy: 'Run it in another folder, or overwrite them with --force.',
  });
}
