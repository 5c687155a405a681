/** A source of any format as a file of our JSONL, with its images where they are. */
import { existsSync, readdirSync } from 'node:fs';
import { mkdir, rename, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { fileError, UserError } from '../errors.ts';
import { decodeHeader } from '../prompt/decode.ts';
import { sampleOf } from './parse.ts';
import { unusable, type Finding } from './findings.ts';
import { locateData, type LocateOptions } from './hub.ts';
import { readRows, type RowOptions } from './formats/formats.ts';
import { folderStore, type ImageStore } from './formats/store.ts';
import { realOf, Territory } from './inside.ts';
import { pacer } from './paced.ts';
import { relativePath } from './lineof.ts';
import { trustFolders } from './trusted.ts';
import { filesOf } from './videos.ts';
import type { Row } from './formats/record.ts';

export interface ImportOptions extends Omit<RowOptions, 'store'> {
  /** The file that is written; images that the source holds as bytes go into a folder beside it. */
  readonly output: string;
  /** Images may lie outside of the folder of the source. */
  readonly allowOutside?: boolean | undefined;
  /** Called as a set of the hub is downloaded. */
  readonly onDownload?: LocateOptions['onProgress'];
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
export async function importData(from: string, { output, ...given }: ImportOptions): Promise<Imported> {
  const notesOfHub: string[] = [];
  const { split, signal, onDownload: onProgress } = given;
  const onNote = (note: string): void => void notesOfHub.push(note);
  const located = await locateData(from, { split, signal, onProgress, onNote });
  const [source, options] = [located.path, { ...given, split: located.split }];
  const file = path.resolve(output);
  if (file === path.resolve(source)) throw new UserError('the output is the source', { where: output });
  const folder = path.dirname(file);
  const made = await folderFor(folder, output);
  const store = undoableStore(file.replace(/(?:\.[^./\\]*)?$/, '-images'));
  const part = `${file}.${process.pid}.part`;
  try {
    const read = await readRows(source, { ...options, store });
    const { kept, notes, leftOut } = await usableRows(read.rows, read.findings, {
      territory: options.allowOutside ? undefined : new Territory(read.folders),
      signal: options.signal,
    });
    const lines = kept.map(({ fields }) => `${JSON.stringify({ ...fields, ...relativeFiles(fields, folder) })}\n`);
    await writeFile(part, lines.join(''));
    await rename(part, file);
    // Links in a set that is imported are what its user unpacked, or made.
    trustFolders(file, [...new Set([...read.folders, ...foldersOf(kept)])]);
    const images = new Set(kept.flatMap(imagesOf)).size;
    return { format: read.format, n: kept.length, images, leftOut, notes: [...notesOfHub, ...read.notes, ...notes] };
  } catch (error) {
    await rm(part, { force: true });
    await store.undo();
    if (made !== undefined) await rm(made, { recursive: true, force: true });
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
    const files = filesOf(sample);
    for (const image of files) if (!reasons.has(image)) reasons.set(image, await imageFault(image, territory));
    if (files.some((image) => reasons.get(image) !== undefined)) leftOut += 1;
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
  const named = new Set(rows.flatMap((row) => imagesOf(row).map((file) => path.dirname(file))));
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

/** Files of images and frames, absolute. */
const imagesOf = ({ fields: { image, video } }: Row): string[] =>
  [image ?? [], video ?? []].flat(2).filter((file): file is string => typeof file === 'string');

function relativeFiles(fields: Row['fields'], folder: string): Record<string, unknown> {
  const relative = (value: unknown): unknown =>
    Array.isArray(value) ? value.map(relative) : typeof value === 'string' ? relativePath(folder, value) : value;
  const named = ['image', 'video'].filter((name) => fields[name] !== undefined);
  return Object.fromEntries(named.map((name) => [name, relative(fields[name])]));
}

/** Knows which files it made, and can take them back. */
function undoableStore(folder: string): ImageStore & { readonly undo: () => Promise<void> } {
  const store = folderStore(folder);
  const wasThere = existsSync(folder);
  const before = new Set(wasThere ? readdirSync(folder) : []);
  const made = new Set<string>();
  return {
    folder: store.folder,
    async put(bytes) {
      const file = await store.put(bytes);
      if (!before.has(path.basename(file))) made.add(file);
      return file;
    },
    async undo() {
      for (const file of made) await rm(file, { force: true });
      if (!wasThere) await rm(folder, { recursive: true, force: true });
    },
  };
}
