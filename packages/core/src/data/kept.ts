/**
 * Rows of another format than ours as lines of a file in this user's cache: they are read again from there as lines of ours
 * are, and a source that is what it was is not read again at all.
 */
import { createHash } from 'node:crypto';
import {
  accessSync,
  appendFileSync,
  constants,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { z } from 'zod';
import { writeAside } from '../disk/durable.ts';
import { fileError } from '../errors.ts';
import { userCache } from './cache.ts';
import type { Finding } from './findings.ts';
import { readRows, type RowOptions, type RowSink } from './formats/formats.ts';
import type { Place, Row } from './formats/record.ts';
import { FORMATS } from './formats/registry.ts';
import { openSource } from './formats/source.ts';
import { LineIndex } from './line-index.ts';
import { pacer } from './paced.ts';
import { sampleOf } from './parse.ts';
import type { LineParser } from './samples.ts';
import { Texts } from './texts.ts';

/** Changes when what readers make of a source does. */
const VERSION = 2;
/** Faults beyond which a source is read again every time. */
const MOST = 10_000;
const MAX_LINE_BYTES = 256 * 2 ** 20;
/** Characters that are kept until they are written. */
const CHUNK = 2 ** 18;

export interface KeptRows {
  readonly lines: LineIndex;
  readonly findings: readonly Finding[];
  /** Folders in which images were found. */
  readonly folders: readonly string[];
  readonly notes: readonly string[];
}

const schema = z.object({
  /** Of the source and the images, as they were. */
  state: z.string(),
  /** Of the lines. */
  sha256: z.string(),
  findings: z.array(z.custom<Finding>((value) => typeof value === 'object' && value !== null)),
  folders: z.array(z.string()).readonly(),
  notes: z.array(z.string()).readonly(),
});

/** A line: the place of the record, its fields, and the id of one that has none. */
type Kept = readonly [file: string, record: number, fields: Row['fields'], name: string];

/** The samples of such lines. */
export const keptLines =
  (task: string): LineParser =>
  ({ text }) => {
    const [file, line, fields, name] = JSON.parse(text!) as Kept;
    const source = { file, line };
    return { source, sample: sampleOf({ ...fields, id: fields['id'] ?? name }, source, task) };
  };

/** @throws UserError where the source cannot be read */
export async function keepRows(file: string, options: RowOptions): Promise<KeptRows> {
  const { signal, format, boxes, units, split, ask } = options;
  const place = placeOf([VERSION, path.resolve(file), format, boxes, units, split, ask]);
  const known = await recall(place, file, signal);
  if (known) return known;
  const lines = new Lines(path.join(place.folder, `${place.name}.${process.pid}.${count++}.part`));
  try {
    const { format: name, ...found } = await readRows(file, options, lines);
    lines.flush();
    const index = await LineIndex.scan(lines.file, { signal, maxLineBytes: MAX_LINE_BYTES, holds: true });
    const { findings } = found;
    const isLasting =
      findings.length <= MOST && findings.every(({ kind }) => kind !== 'image') && FORMATS.includes(name);
    const state = isLasting && !place.isTemporary ? await stateOf(file, lines.seen, signal) : undefined;
    if (state !== undefined) remember(place, lines, { state, sha256: index.sha256, ...found, findings: [...findings] });
    return { lines: index, ...found };
  } finally {
    // Whoever reads it holds it open.
    rmSync(lines.file, { force: true });
    if (place.isTemporary) rmSync(place.folder, { recursive: true, force: true });
  }
}

let count = 0;

/** Writes rows as lines. */
class Lines implements RowSink {
  readonly file: string;
  /** Images, and the files that rows come from. */
  readonly seen = new Texts();
  readonly #nameOf = placeNames();
  #text = '';

  constructor(file: string) {
    this.file = file;
    this.clear();
  }

  take({ place, fields }: Row): void {
    this.seen.add(place.file);
    for (const image of imagesOf(fields)) this.seen.add(image);
    const kept: Kept = [place.file, place.record, fields, this.#nameOf(place)];
    this.#text += `${JSON.stringify(kept)}\n`;
    if (this.#text.length >= CHUNK) this.flush();
  }

  clear(): void {
    this.#text = '';
    this.#write(() => writeFileSync(this.file, ''));
  }

  flush(): void {
    const text = this.#text;
    this.#text = '';
    this.#write(() => appendFileSync(this.file, text));
  }

  #write(write: () => void): void {
    try {
      write();
    } catch (error) {
      throw fileError(error, { where: this.file, remedy: 'Free some space, or name another folder: XDG_CACHE_HOME.' });
    }
  }
}

/** Files of images and frames in the fields of a row. */
export const imagesOf = ({ image, video }: Row['fields']): string[] =>
  [image ?? [], video ?? []].flat(2).filter((file): file is string => typeof file === 'string');

/** Names of rows by their places: those of other files than the first say theirs, several of one record are counted. */
function placeNames(): (place: Place) => string {
  let first: string | undefined;
  let [last, times] = ['', 1];
  return ({ file, record }) => {
    first ??= file;
    const name = `${file === first ? '' : `${path.relative(path.dirname(first), file)}:`}line-${record}`;
    times = name === last ? times + 1 : 1;
    last = name;
    return times === 1 ? name : `${name}-${times}`;
  };
}

interface CachePlace {
  readonly folder: string;
  readonly name: string;
  readonly isTemporary: boolean;
}

function placeOf(key: readonly unknown[]): CachePlace {
  const name = createHash('sha256').update(JSON.stringify(key)).digest('hex').slice(0, 32);
  const folder = path.join(userCache(), 'rows');
  try {
    mkdirSync(folder, { recursive: true });
    accessSync(folder, constants.W_OK);
    return { folder, name, isTemporary: false };
  } catch {
    return { folder: mkdtempSync(path.join(tmpdir(), 'visurf-kept-')), name, isTemporary: true };
  }
}

const fileOf = ({ folder, name }: CachePlace, ending: 'rows' | 'seen' | 'json'): string =>
  path.join(folder, `${name}.${ending}`);

async function recall(place: CachePlace, file: string, signal: AbortSignal | undefined): Promise<KeptRows | undefined> {
  const seen = new Texts();
  try {
    const { state, sha256, ...known } = schema.parse(JSON.parse(readFileSync(fileOf(place, 'json'), 'utf8')));
    for (const name of readFileSync(fileOf(place, 'seen'), 'utf8').split('\0')) if (name !== '') seen.add(name);
    if ((await stateOf(file, seen, signal)) !== state) return undefined;
    const lines = await LineIndex.scan(fileOf(place, 'rows'), { signal, maxLineBytes: MAX_LINE_BYTES, holds: true });
    return lines.sha256 === sha256 ? { lines, ...known } : undefined;
  } catch {
    signal?.throwIfAborted();
    return undefined; // Not there, or cut off by a full disk.
  }
}

function remember(place: CachePlace, { file, seen }: Lines, known: z.output<typeof schema>): void {
  try {
    rmSync(fileOf(place, 'json'), { force: true });
    renameSync(file, fileOf(place, 'rows'));
    writeAside(fileOf(place, 'seen'), Array.from(seen.keys(), (number) => seen.at(number)).join('\0'));
    writeAside(fileOf(place, 'json'), JSON.stringify(known));
  } catch {
    return; // The next start reads the source again.
  }
}

/**
 * Stands for a source as it is: sizes and dates of its files and of what was seen of it, and what else lies there;
 * undefined where something that was seen is not there.
 */
async function stateOf(file: string, seen: Texts, signal: AbortSignal | undefined): Promise<string | undefined> {
  const hash = createHash('sha256');
  const folders = new Set<string>();
  const pace = pacer(signal);
  const add = async (name: string): Promise<boolean> => {
    await pace();
    const stat = statSync(name, { throwIfNoEntry: false });
    hash.update(`${name} ${stat?.size} ${stat?.mtimeMs}\n`);
    folders.add(path.dirname(name));
    return stat?.isFile() === true;
  };
  for (const name of openSource(file).files) await add(name);
  for (const number of seen.keys()) if (!(await add(seen.at(number)))) return undefined;
  // What comes or goes beside them, but for what nobody reads.
  const own = path.join(userCache(), 'images');
  for (const folder of folders) {
    await pace();
    const names = folder === own ? [] : readdirSync(folder).filter((name) => !name.startsWith('.'));
    hash.update(`${folder} ${names.sort().join('\0')}\n`);
  }
  return hash.digest('hex');
}
