/** A source of any format as a file of our JSONL, with its images where they are. */
import { existsSync, readdirSync } from 'node:fs';
import { mkdir, open, rename, rm } from 'node:fs/promises';
import path from 'node:path';
import { gone, kept } from '@visurf/torch/signals';
import { fileError, UserError } from '../errors.ts';
import { decodeHeader } from '../prompt/decode.ts';
import { sampleOf } from './parse.ts';
import { unusable, type Finding } from './findings.ts';
import { locateData, type LocateOptions } from './hub.ts';
import { readRows, type RowOptions } from './formats/formats.ts';
import { Spool } from './formats/spool.ts';
import { folderStore, type ImageStore } from './formats/store.ts';
import { realOf, Territory } from './inside.ts';
import { pacer } from './paced.ts';
import { relativePath } from './lineof.ts';
import { trustFolders } from './trusted.ts';
import { Numbers, Texts } from './texts.ts';
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

/** Characters that are written at once. */
const CHUNK = 2 ** 18;

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
  if (made !== undefined) kept(made);
  const store = undoableStore(file.replace(/(?:\.[^./\\]*)?$/, '-images'));
  const part = `${file}.${process.pid}.part`;
  kept(part);
  try {
    let rows = new Spool<Row>();
    using _rows = { [Symbol.dispose]: () => rows[Symbol.dispose]() };
    const clear = (): void => {
      rows[Symbol.dispose]();
      rows = new Spool();
    };
    const read = await readRows(source, { ...options, store }, { take: (row) => rows.push(row), clear });
    const { folders, ...found } = await writeUsable(rows.read(), read.findings, {
      ...{ part, folder, source, signal },
      territory: options.allowOutside ? undefined : new Territory(read.folders),
    });
    await rename(part, file);
    store.keep();
    gone(part);
    // Links in a set that is imported are what its user unpacked, or made.
    if (made !== undefined) gone(made);
    trustFolders(file, [...new Set([...read.folders, ...folders])]);
    const { notes, ...counts } = found;
    return { format: read.format, ...counts, notes: [...notesOfHub, ...read.notes, ...notes] };
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

interface Writing {
  /** The file that is written, and the folder that it refers to images from. */
  readonly part: string;
  readonly folder: string;
  readonly source: string;
  readonly territory: Territory | undefined;
  readonly signal: AbortSignal | undefined;
}

/** What was written, and the folders in which its images really are. */
type Written = Omit<Imported, 'format'> & { readonly folders: ReadonlySet<string> };

/** Writes the rows that can be trained on; those without their image are left out and said. */
async function writeUsable(
  rows: AsyncIterable<Row>,
  findings: readonly Finding[],
  { part, folder, source, territory, signal }: Writing,
): Promise<Written> {
  const faults = [...findings.filter(({ kind }) => kind !== 'image')];
  const lost = new Texts();
  let leftOut = 0;
  for (const { kind, message } of findings) {
    if (kind !== 'image') continue;
    lost.add(message);
    leftOut += 1;
  }
  // Images by whether they can be used: their reason, by its number plus one.
  const [images, reasons] = [new Texts(), new Numbers()];
  const [kept, folders] = [new Texts(), new Set<string>()];
  const pace = pacer(signal);
  let [n, text] = [0, ''];
  await using handle = await open(part, 'w');
  const isUsable = async (image: string): Promise<boolean> => {
    const known = images.size;
    const number = images.add(image);
    if (number === known) {
      const fault = await imageFault(image, territory);
      reasons.push(fault === undefined ? 0 : lost.add(fault) + 1);
    }
    return reasons.values[number] === 0;
  };
  for await (const { place, fields } of rows) {
    await pace();
    const at = { file: place.file, line: place.record };
    const sample = sampleOf(fields, at, 'grounding');
    if (typeof sample === 'string') {
      faults.push({ kind: 'row', severity: 'error', ...at, message: sample });
      continue;
    }
    const files = filesOf(sample);
    let isWhole = true;
    for (const image of files) isWhole = (await isUsable(image)) && isWhole;
    if (!isWhole) {
      leftOut += 1;
      continue;
    }
    for (const file of files) if (kept.add(file) === kept.size - 1) folders.add(path.dirname(file));
    text += `${JSON.stringify({ ...fields, ...relativeFiles(fields, folder) })}\n`;
    n += 1;
    if (text.length < CHUNK) continue;
    await handle.appendFile(text);
    text = '';
  }
  await handle.appendFile(text);
  const error = unusable(faults);
  if (error) throw error;
  const some = Array.from({ length: Math.min(NAMED, lost.size) }, (_, number) => lost.at(number)).join('; ');
  const named = some + (lost.size > NAMED ? `; and ${lost.size - NAMED} more` : '');
  if (n === 0) {
    const reason = lost.size > 0 ? `no image can be read: ${named}` : 'it holds nothing to learn from';
    const remedy =
      lost.size > 0 ? 'PNG, JPEG, WebP, GIF, TIFF and AVIF are read, by the names that the set has.' : undefined;
    throw new UserError(reason, { where: source, remedy });
  }
  const notes = lost.size > 0 ? [`${leftOut} records without their image are left out: ${named}`] : [];
  const real = new Set([...folders].map((each) => realOf(each) ?? each));
  return { n, images: kept.size, leftOut, notes, folders: real };
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

function relativeFiles(fields: Row['fields'], folder: string): Record<string, unknown> {
  const relative = (value: unknown): unknown =>
    Array.isArray(value) ? value.map(relative) : typeof value === 'string' ? relativePath(folder, value) : value;
  const named = ['image', 'video'].filter((name) => fields[name] !== undefined);
  return Object.fromEntries(named.map((name) => [name, relative(fields[name])]));
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
