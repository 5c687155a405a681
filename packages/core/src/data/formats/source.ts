/** Files of a source: which there are, what they hold, and where the images are that they name. */
import { existsSync, readdirSync, statSync } from 'node:fs';
import path from 'node:path';
import { fileError, hasCode, messageOf, missingFile, UserError } from '../../errors.ts';
import { openFile, readWhole, requireFile } from '../../regular.ts';
import { LISTED, readLines, TO_UTF8, wholeText } from '../lines.ts';
import { fault, isObject, type Fault, type Place } from './record.ts';
import { parseXml, type Element } from './xml.ts';

const LIMITS = { files: 2_000_000, depth: 8, textBytes: 400 * 2 ** 20, lineBytes: 64 * 2 ** 20, headBytes: 64 * 1024 };

/** Files that annotations are in. */
export const ANNOTATIONS = /\.(?:jsonl?|ndjson|parquet|csv|tsv|xml|ya?ml|names)$|(?:^|\/)classes\.txt$/i;

export const IMAGE_NAME = /\.(?:jpe?g|png|webp|gif|tiff?|bmp|avif)$/i;

const EXTENSIONS = ['.jpg', '.jpeg', '.png', '.JPG', '.JPEG', '.PNG', '.webp', '.bmp'];

/** One file, or the files of a folder. */
export interface Source {
  /** As the user named it, absolute. */
  readonly path: string;
  readonly isFolder: boolean;
  /** The folder in which images are looked for. */
  readonly root: string;
  /** Annotation files, absolute and in order. */
  readonly files: readonly string[];
  /** Part of a set that is read: `train`, `validation`, ... */
  readonly split: string | undefined;
}

/** @throws UserError where there is no such file */
export function openSource(file: string, split?: string): Source {
  const absolute = path.resolve(file);
  try {
    const stat = statSync(absolute);
    const isFolder = stat.isDirectory();
    if (!isFolder) requireFile(stat, file);
    const files = isFolder ? filesUnder(absolute).filter((each) => !IMAGE_NAME.test(each)) : [absolute];
    const root = isFolder ? absolute : path.dirname(absolute);
    return { path: absolute, isFolder, root, files, split };
  } catch (error) {
    throw existsSync(absolute) ? fileError(error, { where: file }) : missingFile(file);
  }
}

/** Files below a folder in the order of their names; links to folders are followed, but not in circles. */
export function filesUnder(folder: string): string[] {
  const found: string[] = [];
  const visit = (at: string, depth: number) => {
    const entries = readdirSync(at, { withFileTypes: true }).sort((a, b) => (a.name < b.name ? -1 : 1));
    for (const entry of entries) {
      if (entry.name.startsWith('.') && entry.isDirectory()) continue;
      // What macOS puts beside every file, and into every archive.
      if (entry.name.startsWith('._') || entry.name === '__MACOSX') continue;
      const full = path.join(at, entry.name);
      const isFolder = entry.isSymbolicLink() ? leadsToFolder(full) : undefined;
      if (entry.isDirectory() || isFolder) {
        if (depth < LIMITS.depth) visit(full, depth + 1);
      } else if (isFolder === false || entry.isFile()) found.push(full);
      if (found.length > LIMITS.files) throw new UserError(`more than ${LIMITS.files} files`, { where: folder });
    }
  };
  visit(folder, 0);
  return found;
}

/** @throws UserError where the file cannot be read, or is too large to be read at once */
export async function readText(file: string): Promise<string> {
  try {
    await using handle = await openFile(file);
    const { size } = await handle.stat();
    if (size > LIMITS.textBytes) {
      throw new UserError(`file of ${size} bytes is too large (limit ${LIMITS.textBytes})`, { where: file });
    }
    return wholeText(await readWhole(handle, size));
  } catch (error) {
    if (error instanceof TypeError) throw new UserError('not UTF-8', { where: file, remedy: TO_UTF8 });
    throw fileError(error, { where: file });
  }
}

/** The first bytes of a file as text. */
export async function headOf(file: string): Promise<string> {
  try {
    await using handle = await openFile(file);
    const { buffer, bytesRead } = await handle.read(Buffer.alloc(LIMITS.headBytes), 0, LIMITS.headBytes, 0);
    return wholeText(buffer.subarray(0, bytesRead), false);
  } catch (error) {
    throw fileError(error, { where: file });
  }
}

/** @throws UserError that names the file */
export async function readJson(file: string): Promise<unknown> {
  try {
    return JSON.parse((await readText(file)).replace(/^\uFEFF/, ''));
  } catch (error) {
    if (error instanceof UserError) throw error;
    throw new UserError(`malformed JSON: ${messageOf(error)}`, { where: file });
  }
}

/** @throws UserError that names the file */
export async function readXml(file: string): Promise<Element> {
  try {
    return parseXml(await readText(file));
  } catch (error) {
    throw error instanceof UserError && error.where === undefined
      ? new UserError(error.reason, { where: file, remedy: error.remedy })
      : error;
  }
}

/** Records of a JSON array, of an object whose values are records, or of lines; what is none comes as its fault. */
export async function* records(
  file: string,
): AsyncGenerator<{ readonly place: Place; readonly value: Record<string, unknown> } | Fault> {
  if (await isOneDocument(file)) {
    const document = await readJson(file);
    const isTable = isObject(document) && Object.values(document).every(isObject);
    const all: unknown[] = Array.isArray(document) ? document : isTable ? Object.values(document) : [document];
    for (const [i, value] of all.entries()) {
      const place = { file, record: i + 1 };
      yield isObject(value) ? { place, value } : fault(place, 'not a JSON object');
    }
    return;
  }
  for await (const { number, text, fault: reason } of readLines(file, LIMITS.lineBytes)) {
    const place = { file, record: number };
    if (text?.trim() === '') continue;
    try {
      const value: unknown = JSON.parse(text ?? '');
      yield isObject(value) ? { place, value } : fault(place, 'not a JSON object');
    } catch (error) {
      const isList = number === 1 && text?.startsWith('[');
      yield fault(place, reason ?? (isList ? LISTED : `malformed JSON: ${messageOf(error)}`));
    }
  }
}

/** Whether a file of JSON is one document, rather than a record on every line. */
export async function isOneDocument(file: string): Promise<boolean> {
  if (/\.(?:jsonl|ndjson)$/i.test(file)) return false;
  const head = (await headOf(file)).trimStart();
  return head.startsWith('[') || (head.startsWith('{') && !/^\{[^\n]*\}[ \t\r]*\n\s*\{/.test(head));
}

/** Other names of the parts that sets are split into. */
const SPLITS: readonly (readonly string[])[] = [
  ['train', 'training'],
  ['validation', 'val', 'valid', 'dev'],
  ['test', 'testing'],
];

/** Whether a name is that of a split, or begins or ends with it. */
export function isOfSplit(name: string, split: string): boolean {
  const names = SPLITS.find((each) => each.includes(split.toLowerCase())) ?? [split.toLowerCase()];
  const words = name.toLowerCase().split(/[^\p{L}]+|(?<=\p{L})(?=20\d\d)/u);
  return words.some((word) => names.includes(word));
}

/** The split that a name says. */
export const splitOf = (name: string): string | undefined =>
  SPLITS.map(([first]) => first!).find((split) => isOfSplit(name, split));

/** Splits that the folders or files of a set are named by. */
export function splitsIn(files: readonly string[], root: string): string[] {
  const names = files.map((file) => path.relative(root, file));
  return SPLITS.map(([first]) => first!).filter((split) => names.some((name) => isOfSplit(name, split)));
}

/** Files without those of other splits, where folders, or else the files themselves, are named by splits. */
export function ofSplit(files: readonly string[], root: string, split: string | undefined): readonly string[] {
  if (split === undefined) return files;
  for (const nameOf of [(file: string) => path.dirname(file), (file: string) => file]) {
    const name = (file: string): string => nameOf(path.relative(root, file));
    if (!files.some((file) => isOfSplit(name(file), split))) continue;
    return files.filter((file) => isOfSplit(name(file), split) || splitOf(name(file)) === undefined);
  }
  return files;
}

/** Folders of parts of a set, as COCO names them too. */
const PARTS = ['train', 'val', 'valid', 'test', 'train2017', 'val2017', 'train2014', 'val2014'];

/** Finds images by the names that annotations have for them. */
export class ImageFinder {
  readonly #root: string;
  readonly #near = new Map<string, readonly string[]>();
  /** Names that lead to a file that is called a little differently. */
  readonly #renamed = new Set<string>();
  #index: Map<string, string[]> | undefined;
  readonly #folders: Set<string>;

  constructor(root: string) {
    this.#root = root;
    this.#folders = new Set([root]);
  }

  /** The folder of the source, and those near it in which images were found by names that do not lead out of a folder. */
  get folders(): readonly string[] {
    return [...this.#folders];
  }

  /** How many names were found to be written differently from those of their files. */
  get renamed(): number {
    return this.#renamed.size;
  }

  /** Images may lie in this folder. */
  allow(folder: string): void {
    this.#folders.add(folder);
  }

  /**
   * The file of an image, absolute; where there is none, the place where it should be.
   * @param from the annotation file
   */
  find(name: string, from: string): string {
    const plain = name
      .replace(/^file:(?:\/\/)?/, '')
      .replaceAll('\\', '/')
      .replaceAll('\0', '');
    const folder = path.dirname(from);
    const expected = path.resolve(folder, plain);
    const leads = path.isAbsolute(plain) || plain.split('/').includes('..');
    if (isFile(expected)) {
      if (!leads) this.#folders.add(folder);
      return expected;
    }
    // A picture of training is not what validation means by the same name.
    const split = this.#splitOf(plain) ?? this.#splitOf(from);
    const isMeant = (file: string): boolean => [undefined, split].includes(this.#splitOf(file)) || split === undefined;
    for (const place of this.#placesNear(folder)) {
      const file = path.join(place, plain);
      if (!isFile(file) || !isMeant(file)) continue;
      if (!leads) this.#folders.add(place);
      return file;
    }
    const named = this.#byName(plain);
    return named !== undefined && isMeant(named) ? named : expected;
  }

  /** The split that folders, or the name of an annotation file, say. */
  #splitOf(file: string): string | undefined {
    const inside = path.isAbsolute(file) ? path.relative(this.#root, file) : file;
    const words = IMAGE_NAME.test(inside) ? path.dirname(inside) : inside;
    return splitOf(words);
  }

  /** The first of several names that leads to an image; a name may lack its extension. */
  findAny(names: readonly unknown[], from: string): string {
    const texts = names.filter((name): name is string => typeof name === 'string' && name !== '');
    const tried = texts.flatMap((name) => [name, ...EXTENSIONS.map((extension) => `${name}${extension}`)]);
    const files = tried.map((name) => this.find(name, from));
    return files.find(isFile) ?? files[0] ?? from;
  }

  /** Folders that are there, near an annotation file: in itself, and in those above it. */
  #placesNear(folder: string): readonly string[] {
    const known = this.#near.get(folder);
    if (known) return known;
    const above = [folder, path.dirname(folder), path.dirname(path.dirname(folder))];
    const images = above.flatMap((at) => [
      at,
      ...['images', 'JPEGImages', 'Images', 'imgs'].map((name) => path.join(at, name)),
    ]);
    const all = [...images, ...images.flatMap((at) => PARTS.map((part) => path.join(at, part)))];
    const found = [...new Set(all)].filter((each) => statSync(each, { throwIfNoEntry: false })?.isDirectory() ?? false);
    this.#near.set(folder, found);
    return found;
  }

  /** The image below the root whose path ends most alike; none where several do. */
  #byName(name: string): string | undefined {
    this.#index ??= Map.groupBy(
      filesUnder(this.#root).filter((file) => IMAGE_NAME.test(file)),
      (file) => alike(path.basename(file)),
    );
    const base = path.posix.basename(name);
    const written = [base, base.replace(/^[\da-f]{8}-/, '')];
    const near = written.map((each) => this.#index!.get(alike(each)) ?? []).find(({ length }) => length > 0) ?? [];
    const same = near.filter((file) => written.includes(path.basename(file)));
    const known = same.length > 0 ? same : near;
    if (same.length === 0 && known.length === 1) this.#renamed.add(name);
    if (known.length < 2) return known[0];
    const parts = name.split('/');
    for (let from = 0; from < parts.length - 1; from++) {
      const fitting = known.filter((file) => file.endsWith(`/${parts.slice(from).join('/')}`));
      if (fitting.length === 1) return fitting[0];
    }
    return undefined;
  }
}

/** A name without what programs write in different ways: case, accents as one character or two, spaces as `%20`. */
function alike(name: string): string {
  let plain = name;
  try {
    plain = decodeURIComponent(name);
  } catch {
    // A per cent sign of its own.
  }
  return plain.normalize('NFC').toLowerCase();
}

/** Undefined where a link leads nowhere, or to itself. */
function leadsToFolder(link: string): boolean | undefined {
  try {
    return statSync(link, { throwIfNoEntry: false })?.isDirectory();
  } catch (error) {
    if (hasCode(error, 'ELOOP')) return undefined;
    throw error;
  }
}

const isFile = (file: string): boolean => statSync(file, { throwIfNoEntry: false })?.isFile() ?? false;
