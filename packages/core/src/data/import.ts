/** A source of any format as a file of our JSONL, with its images where they are. */
import { existsSync, readdirSync } from 'node:fs';
import { mkdir, rename, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { gone, kept } from '@visurf/torch/signals';
import { fileError, UserError } from '../errors.ts';
import { decodeHeader } from '../prompt/decode.ts';
import { sampleOf } from './parse.ts';
import { unusable, type Finding } from './findings.ts';
import { readRows, type RowOptions } from './formats/formats.ts';
import { folderStore, type ImageStore } from './formats/store.ts';
import { realOf, Territory } from './inside.ts';
import { pacer } from './paced.ts';
import { relativePath } from './lineof.ts';
import { trustFolders } from './trusted.ts';
import type { Row } from './formats/record.ts';

export interface ImportOptions extends Omit<RowOptions, 'store'> {
  /** The file that is written; images that the source holds as bytes go into a folder beside it. */
  readonly output: string;
  /** Images may lie outside of the folder of the source. */
  readonly allowOutside?: boolean | undefined;
}

export interface Imported {
  readonly format: string;
  /** Lines written. */
  readonly n: number;
  readonly images: number;
  /** Records whose image is missing or cannot be read. */
  readonly leftOut: number;
  readonly notes: readonly string[];
}

/** Missing images named in a message. */
const NAMED = 3;

/** @throws UserError that lists what cannot be read; nothing is left of the output then */
export async function importData(source: string, { output, ...options }: ImportOptions): Promise<Imported> {
  const file = path.resolve(output);
  if (file === path.resolve(source)) throw new UserError('the output is the source', { where: output });
  const folder = path.dirname(file);
  const made = await folderFor(folder, output);
  if (made !== undefined) kept(made);
  const store = undoableStore(file.replace(/(?:\.[^./\\]*)?$/, '-images'));
  const part = `${file}.${process.pid}.part`;
  kept(part);
  try {
    const read = await readRows(source, { ...options, store });
    const {
      kept: rows,
      notes,
      leftOut,
    } = await usableRows(read.rows, read.findings, {
      territory: options.allowOutside ? undefined : new Territory(read.folders),
      signal: options.signal,
    });
    const lines = rows.map(
      ({ fields }) => `${JSON.stringify({ ...fields, ...relativeImages(fields['image'], folder) })}\n`,
    );
    if (made !== undefined) gone(made);
    await writeFile(part, lines.join(''));
    await rename(part, file);
    store.keep();
    gone(part);
    // Links in a set that is imported are what its user unpacked, or made.
    trustFolders(file, [...new Set([...read.folders, ...foldersOf(rows)])]);
    const images = new Set(rows.flatMap(({ fields }) => fields['image'])).size;
    return { format: read.format, n: rows.length, images, leftOut, notes: [...read.notes, ...notes] };
  } catch (error) {
    await rm(part, { force: true });
    await store.undo();
    if (made !== undefined) await rm(made, { recursive: true, force: true });
    [part, made].forEach((each) => each !== undefined && gone(each));
    throw fileError(error, { where: output });
  }
}

/** The topmost folder that had to be made, if any. */
async function folderFor(folder: string, output: string): Promise<string | undefined> {
  try {
    return await mkdir(folder, { recursive: true });
  } catch (error) {
    throw fileError(error, { where: output });
  }
}

/** Rows that can be trained on; those without their image are left out and said. */
async function usableRows(
  rows: readonly Row[],
  findings: readonly Finding[],
  { territory, signal }: { readonly territory: Territory | undefined; readonly signal: AbortSignal | undefined },
): Promise<{ kept: Row[]; notes: string[]; leftOut: number }> {
  const faults = [...findings.filter(({ kind }) => kind !== 'image')];
  const missing = findings.filter(({ kind }) => kind === 'image').map(({ message }) => message);
  const reasons = new Map<string, string | undefined>();
  const kept: Row[] = [];
  let leftOut = missing.length;
  const pace = pacer(signal);
  for (const row of rows) {
    await pace();
    const source = { file: row.place.file, line: row.place.record };
    const sample = sampleOf(row.fields, source, 'grounding');
    if (typeof sample === 'string') {
      faults.push({ kind: 'row', severity: 'error', ...source, message: sample });
      continue;
    }
    for (const image of sample.images) if (!reasons.has(image)) reasons.set(image, await imageFault(image, territory));
    if (sample.images.some((image) => reasons.get(image) !== undefined)) leftOut += 1;
    else kept.push(row);
  }
  const error = unusable(faults);
  if (error) throw error;
  const lost = [...new Set([...missing, ...[...reasons.values()].filter((reason) => reason !== undefined)])];
  const named = lost.slice(0, NAMED).join('; ') + (lost.length > NAMED ? `; and ${lost.length - NAMED} more` : '');
  if (kept.length === 0) {
    const reason = lost.length > 0 ? `no image can be read: ${named}` : 'it holds nothing to learn from';
    throw new UserError(reason, { where: rows[0]?.place.file ?? findings[0]?.file });
  }
  const notes = lost.length > 0 ? [`${leftOut} records without their image are left out: ${named}`] : [];
  return { kept, notes, leftOut };
}

/** Where the images of rows really are: their folders. */
function foldersOf(rows: readonly Row[]): Set<string> {
  const named = new Set(
    rows.flatMap(({ fields }) => [fields['image']].flat().map((file) => path.dirname(String(file)))),
  );
  return new Set([...named].map((folder) => realOf(folder) ?? folder));
}

async function imageFault(file: string, territory: Territory | undefined): Promise<string | undefined> {
  if (territory?.names(file) === false) return `image lies outside of the data folder: ${file} (--allow-outside)`;
  try {
    await decodeHeader(file);
    return undefined;
  } catch (error) {
    if (error instanceof UserError) return `${error.reason}: ${file}`;
    throw error;
  }
}

function relativeImages(image: unknown, folder: string): { image?: string | string[] } {
  if (typeof image === 'string') return { image: relativePath(folder, image) };
  return Array.isArray(image) ? { image: image.map((each) => relativePath(folder, String(each))) } : {};
}

/** Knows which files it made, and can take them back. */
function undoableStore(folder: string): ImageStore & { readonly undo: () => Promise<void>; readonly keep: () => void } {
  const store = folderStore(folder);
  const wasThere = existsSync(folder);
  if (!wasThere) kept(folder);
  const before = new Set(wasThere ? readdirSync(folder) : []);
  const made = new Set<string>();
  return {
    folder: store.folder,
    async put(bytes) {
      const file = await store.put(bytes);
      if (!before.has(path.basename(file))) {
        made.add(file);
        if (wasThere) kept(file);
      }
      return file;
    },
    async undo() {
      for (const file of made) await rm(file, { force: true });
      if (!wasThere) await rm(folder, { recursive: true, force: true });
      this.keep();
    },
    keep() {
      gone(folder);
      for (const file of made) gone(file);
    },
  };
}
