/** All formats, how one is told from another, and a source of any of them as rows of ours. */
import { existsSync } from 'node:fs';
import path from 'node:path';
import { nearest, UserError } from '../../errors.ts';
import type { Finding } from '../findings.ts';
import { readLines } from '../lines.ts';
import { pacer } from '../paced.ts';
import { ClassQuestions, type Ask } from './classes.ts';
import { visurf } from './columns.ts';
import { isObject } from './record.ts';
import type { AnnotatedImage, AskedQuestion, Fault, Item, Row, RowsRead } from './record.ts';
import type { Glance, Reader } from './reader.ts';
import { FORMATS, formatNames, readers, readsAll, readsWhole } from './registry.ts';
import { Settling, type DeclaredBoxes, type Looked } from './settle.ts';
import {
  ANNOTATIONS,
  filesUnder,
  headOf,
  IMAGE_NAME,
  ImageFinder,
  isOneDocument,
  ofSplit,
  openSource,
  splitsIn,
  type Source,
} from './source.ts';
import { Spool } from './spool.ts';
import { cacheStore, type ImageStore } from './store.ts';

export interface RowOptions extends DeclaredBoxes {
  /** Name of a format; unset or `auto`: found out. */
  readonly format?: string | undefined;
  readonly split?: string | undefined;
  readonly ask?: readonly Ask[] | undefined;
  /** Names of the classes that are asked for; unset: all. */
  readonly classes?: readonly string[] | undefined;
  /** Where images go that the set holds as bytes; unset: this user's cache. */
  readonly store?: ImageStore | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** Records that a source may hold. */
const MAX_RECORDS = 20_000_000;

/** Whether a file is lines of our own JSONL, or nothing that another reader knows: both are read as lines. */
export async function isOurLines(file: string, options: RowOptions): Promise<boolean> {
  const { format = 'auto', boxes, units } = options;
  if (!existsSync(file) || boxes !== undefined || units !== undefined) return false;
  const source = openSource(file);
  if (source.isFolder || (format !== 'auto' && format !== 'visurf')) return false;
  const glance = await glanceAt(source.path);
  if (glance.extension === 'parquet' || (await isOneDocument(file))) return false;
  const known = readers().find((reader) => reader.knows(glance));
  return known === undefined || known === visurf;
}

/** Takes rows as they come. */
export interface RowSink {
  take(row: Row): void;
  /** What was taken is no data after all. */
  clear(): void;
}

/**
 * Reads the rows of a source of any format. What a reader yields goes through files, so that memory does not grow with it.
 * @throws UserError where its format is not known, or it cannot be read
 */
export async function readRows(file: string, options: RowOptions, sink: RowSink): Promise<RowsRead> {
  const { reader, source } = await detect(openSource(file, options.split), options.format ?? 'auto');
  const { signal } = options;
  const notes = new Set<string>();
  const note = (message: string) => void notes.add(message);
  const classes = new Set<string>();
  const images = new ImageFinder(source.root);
  const store = options.store ?? cacheStore();
  const declare = (...names: readonly string[]) => names.forEach((name) => classes.add(name));
  const splits = source.isFolder && source.split === undefined ? splitsIn(source.files, source.root) : [];
  if (splits.length > 1) note(`all of ${splits.join(', ')} are read: --split NAME (data.split) reads one`);
  const pace = pacer(signal);
  using items = new Spool<Looked>();
  const settling = new Settling(options, note);
  let batch: Item[] = [];
  const flush = async (): Promise<void> => {
    for (const looked of await settling.look(batch, signal)) items.push(looked);
    batch = [];
  };
  for await (const item of reader.read(source, { images, store, note, declare })) {
    batch.push(item);
    if (batch.length === BATCH) await flush();
    await pace();
    if (items.length > MAX_RECORDS) throw new UserError(`more than ${MAX_RECORDS} records`, { where: file });
  }
  await flush();
  using shown = new Spool<AnnotatedImage>();
  const questions = new ClassQuestions(classes, options.ask ?? ['find'], options.classes);
  const findings: Finding[] = [];
  const fail = ({ place, message, about }: Fault): void =>
    void findings.push({ kind: about ?? 'row', severity: 'error', file: place.file, line: place.record, message });
  for await (const looked of items.read()) {
    const item = settling.settle(looked);
    if (item.kind === 'fault') fail(item);
    else if (item.kind === 'question') sink.take(rowOf(item));
    else {
      questions.observe(item);
      shown.push(item);
    }
    await pace();
  }
  const misread = settling.finish();
  if (misread) {
    sink.clear();
    fail(misread);
  } else {
    for await (const image of shown.read()) {
      for (const question of questions.about(image)) sink.take(rowOf(question));
      await pace();
    }
    questions.finish(note);
  }
  if (images.renamed > 0)
    note(
      `${images.renamed} images are called a little differently (case, accents, %20) than the set has it: taken all the same`,
    );
  const folders = [...images.folders, ...(store.folder === undefined ? [] : [store.folder])];
  return { format: reader.name, findings, folders, notes: [...notes] };
}

/** Items whose pictures are looked at together. */
const BATCH = 64;

function rowOf({ place, images, fields: { id, ...others } }: AskedQuestion): Row {
  const image = images.length === 0 ? undefined : images.length === 1 ? images[0] : images;
  return { place, fields: { ...(id !== undefined && { id }), ...(image !== undefined && { image }), ...others } };
}

/** The reader of a source, and the files of it that this reader reads. */
async function detect(source: Source, format: string): Promise<{ reader: Reader; source: Source }> {
  const where = source.path;
  if (format !== 'auto') {
    const reader = readers().find(({ name }) => name === format);
    if (!reader) throw unknownFormat(format);
    return { reader, source: { ...source, files: source.isFolder ? await filesOf(source, reader) : source.files } };
  }
  const claimed = new Map<Reader, string[]>();
  for (const file of source.files) {
    if (source.isFolder && !isReadable(file)) continue;
    const glance = await glanceAt(file);
    const reader = readers().find((each) => each.knows(glance));
    if (reader) claimed.set(reader, [...(claimed.get(reader) ?? []), file]);
    // A folder of as many files of one kind is that kind.
    if (source.isFolder && (claimed.get(reader!)?.length ?? 0) >= ENOUGH) break;
  }
  const [first, ...others] = readers().filter((reader) => claimed.has(reader));
  if (!first) {
    throw unknownSource(source);
  }
  if (others.length > 0 && !readsWhole(first)) {
    const names = [first, ...others].map(({ name }) => name).join(', ');
    throw new UserError(`holds several formats: ${names}`, { where, remedy: 'Name one with --format (data.format).' });
  }
  const files = source.isFolder ? await filesOf(source, first) : source.files;
  return { reader: first, source: { ...source, files } };
}

/** What is there in place of a set of a known format. */
function unknownSource({ path: where, isFolder, files, root }: Source): UserError {
  const archives = files.filter((file) => /\.(?:zip|tar|t?gz|7z|rar)$/i.test(file));
  const [pictures, tables] = [isFolder ? picturesIn(root) : 0, files.filter((file) => ANNOTATIONS.test(file))];
  const naming = `Name it with --format (data.format): ${formatNames().join(', ')}.`;
  if (archives.length > 0) {
    const name = path.relative(path.dirname(where), archives[0]!);
    const how = /\.zip$/i.test(name) ? ` (unzip ${name} -d NEW)` : '';
    return new UserError(`${isFolder ? 'holds an archive' : 'is an archive'}, which is not looked into`, {
      where: archives[0]!,
      remedy: `Unpack it first${how}, and name the folder that comes of it.`,
    });
  }
  if (!isFolder) return new UserError('no known format', { where, remedy: naming });
  if (pictures === 0 && files.length === 0) return new UserError('is a directory with nothing in it', { where });
  if (pictures > 0 && tables.length === 0) {
    return new UserError(`holds ${pictures} pictures and no annotations`, {
      where,
      remedy: 'What is to be learned must be marked first: docs/data.md has the formats that are read.',
    });
  }
  const named = tables.slice(0, 3).map((file) => path.relative(root, file));
  const what = tables.length > 0 ? `: not known are ${named.join(', ')}${tables.length > 3 ? ', ...' : ''}` : '';
  return new UserError(`is a directory without annotations of a known format${what}`, { where, remedy: naming });
}

const picturesIn = (folder: string): number => filesUnder(folder).filter((file) => IMAGE_NAME.test(file)).length;

const ENOUGH = 50;

/** Whether a file of a folder is looked into; readers of plugins may know files by any name. */
const isReadable = (file: string): boolean => ANNOTATIONS.test(file) || readers().length > FORMATS.length;

/** Files of a folder that belong to a reader; those that need all others (splits, labels) get all. */
async function filesOf(source: Source, reader: Reader): Promise<readonly string[]> {
  if (readsAll(reader)) return source.files;
  const known: string[] = [];
  for (const file of source.files) {
    if (isReadable(file) && reader.knows(await glanceAt(file))) known.push(file);
  }
  if (known.length > 0) return ofSplit(known, source.root, source.split);
  throw new UserError(`no files of the format ${reader.name}`, { where: source.path });
}

export function unknownFormat(name: string): UserError {
  const likely = nearest(name, formatNames());
  const remedy = `${likely === undefined ? '' : `Did you mean ${likely}? `}Formats: auto, ${formatNames().join(', ')}.`;
  return new UserError(`there is no format ${name}`, { remedy });
}

async function glanceAt(file: string): Promise<Glance> {
  const extension = path.extname(file).slice(1).toLowerCase();
  const head = extension === 'parquet' ? '' : await headOf(file);
  const isJson = /^\s*[[{]/.test(head);
  const first = isJson ? await firstRecord(file, head) : undefined;
  const document = isJson ? wholeObject(head) : undefined;
  return { file, extension, head, first, document };
}

/** The first record of an array or of lines, as far as it lies in the beginning of the file. */
async function firstRecord(file: string, head: string): Promise<Record<string, unknown> | undefined> {
  const text = head.trimStart();
  if (text.startsWith('[')) return balanced(text.slice(1).trimStart());
  const own = balanced(text);
  if (await isOneDocument(file)) {
    // An object whose values are records, such as VIA's and MathVista's.
    const inner = /^\{\s*"(?:[^"\\]|\\.)*"\s*:\s*(\{)/.exec(text);
    return inner ? balanced(text.slice(inner[0].length - 1)) : own;
  }
  if (own) return own;
  for await (const { text: line } of readLines(file, 64 * 2 ** 20))
    return line === undefined ? undefined : balanced(line);
  return undefined;
}

/** The object that a text begins with. */
function balanced(text: string): Record<string, unknown> | undefined {
  let [depth, quoted] = [0, false];
  for (let i = 0; i < text.length; i++) {
    const char = text[i];
    if (quoted) {
      if (char === '\\') i += 1;
      else if (char === '"') quoted = false;
    } else if (char === '"') quoted = true;
    else if (char === '{' || char === '[') depth += 1;
    else if ((char === '}' || char === ']') && --depth === 0) return parsed(text.slice(0, i + 1));
  }
  return undefined;
}

const wholeObject = (head: string): Record<string, unknown> | undefined => parsed(head);

function parsed(text: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return isObject(value) ? value : undefined;
  } catch {
    return undefined;
  }
}
