/**
 * Data sets of the hub by name: the part that is asked for is downloaded into the cache that models share, and read there.
 * Only files that hold data come: no program, and nothing that runs one when it is opened.
 */
import { existsSync, statSync } from 'node:fs';
import { mkdir, readFile } from 'node:fs/promises';
import path from 'node:path';
import { z } from 'zod';
import { replaceFile } from '../disk/durable.ts';
import { UserError } from '../errors.ts';
import type { RepoCache } from '../hub/cache.ts';
import { isHubId, parseHubName, type HubName } from '../hub/id.ts';
import { checkListing, type RemoteFile } from '../hub/listing.ts';
import { isPath } from '../regular.ts';
import { fromHub, type RepositoryOptions, type Session } from '../hub/repository.ts';
import { ANNOTATIONS, IMAGE_NAME, isOfSplit, splitOf } from './formats/source.ts';

/** Files that are downloaded at the same time: sets of pictures have many that are small. */
const AT_ONCE = 8;

/** A source on this machine, and the part of it that is read. */
export interface LocatedData {
  readonly path: string;
  readonly split: string | undefined;
}

export interface LocateOptions extends Omit<RepositoryOptions, 'revision'> {
  /** `validation`, or `NAME/validation` of a set that holds several; unset: the part that the use asks for. */
  readonly split?: string | undefined;
  /** The data is held out: of a set on the hub its validation or test part, else that for training. */
  readonly isHeld?: boolean | undefined;
  readonly onNote?: ((message: string) => void) | undefined;
}

/**
 * The data set that a name means on the hub, `owner/name` or `owner/name@revision`; undefined where it is a path: one that
 * is there, or lies in a folder that is there, or ends as data files do.
 * @param place what it would be as a path
 */
export function dataHubName(name: string, place: string = name): HubName | undefined {
  const parsed = parseHubName(name);
  if (!parsed || !isHubId(name, place) || ANNOTATIONS.test(parsed.id)) return undefined;
  return existsSync(path.dirname(place)) ? undefined : parsed;
}

/** @throws UserError where a set of the hub cannot be had, or holds nothing that is read */
export async function locateData(source: string, options: LocateOptions = {}): Promise<LocatedData> {
  const { split, isHeld = false, onNote, onWarning = onNote } = options;
  const name = dataHubName(source);
  if (!name) return { path: source, split };
  const wanted: Part = { split, preferred: isHeld ? ['validation', 'test'] : ['train'] };
  const chosen = await fromHub(
    'dataset',
    name,
    {
      cached: (cache, commit, isOffline) => cachedPart(name.id, cache, commit, wanted, isOffline),
      fetch: (session) => fetchPart(session, wanted),
    },
    { ...options, onWarning },
  );
  const { others } = chosen;
  if (others.length > 0) onNote?.(`the part ${chosen.split} is read (others: ${others.join(', ')})`);
  return { path: chosen.folder, split: chosen.split };
}

interface Part {
  readonly split: string | undefined;
  /** Parts in place of one that is not named, the first that there is. */
  readonly preferred: readonly string[];
}

interface Chosen {
  readonly files: readonly RemoteFile[];
  /** The folder that is read. */
  readonly folder: string;
  readonly split: string | undefined;
  /** Parts that are not read because none was named. */
  readonly others: readonly string[];
}

/** What a repository holds of data: parquet, where there is any, else annotations and images. */
function dataFiles(files: readonly RemoteFile[]): RemoteFile[] {
  const readable = files.filter(
    ({ path: name }) =>
      isPath(name) &&
      !/(?:^|\/)\./.test(name) &&
      !/^(?:dataset_infos|dataset_dict|state|requirements)\.\w+$|licen[cs]e/i.test(path.posix.basename(name)) &&
      (ANNOTATIONS.test(name) || IMAGE_NAME.test(name) || name.endsWith('.txt')),
  );
  const parquet = readable.filter(({ path: name }) => name.endsWith('.parquet'));
  return parquet.length > 0 ? parquet : readable;
}

/** Folders of images may be called anything; what annotations are called tells their part. */
const words = (name: string): string => (IMAGE_NAME.test(name) ? path.posix.dirname(name) : name);

/** @throws UserError where there is no such part, or several sets in one */
function choosePart(
  all: readonly RemoteFile[],
  { split: asked, preferred }: Part,
  id: string,
  snapshot: string,
): Chosen {
  const at = asked?.lastIndexOf('/') ?? -1;
  const [folder, named] = at < 0 ? ['', asked] : [`${asked!.slice(0, at)}/`, asked!.slice(at + 1)];
  const files = all.filter(({ path: name }) => name.startsWith(folder));
  const found = [...new Set(files.map(({ path: name }) => splitOf(words(name)) ?? ''))].filter(Boolean);
  const split = named ?? preferred.find((each) => found.includes(each)) ?? (found.length === 1 ? found[0] : undefined);
  const isOf = (name: string): boolean => isOfSplit(words(name), split!);
  const isNamed = split !== undefined && files.some(({ path: name }) => isOf(name));
  if ((named !== undefined && !isNamed && (found.length > 0 || named === '')) || files.length === 0) {
    throw new UserError(`it has no part ${asked ?? ''}`, {
      where: id,
      remedy: `Its parts: ${partsOf(all).join(', ')}.`,
    });
  }
  const isShared = (name: string): boolean => !name.endsWith('.parquet') && splitOf(words(name)) === undefined;
  const chosen = isNamed ? files.filter(({ path: name }) => isOf(name) || isShared(name)) : files;
  const sets = new Set(chosen.filter(({ path: name }) => name.endsWith('.parquet')).map((file) => setOf(file.path)));
  if (sets.size > 1) {
    throw new UserError(`it holds several sets: ${[...sets].join(', ')}`, {
      where: id,
      remedy: `Name one with --split (data.split): ${partsOf(all).join(', ')}.`,
    });
  }
  const others = named === undefined && isNamed ? found.filter((each) => each !== split) : [];
  return { files: chosen, folder: path.join(snapshot, folder), split: isNamed ? split : undefined, others };
}

/** The folder of a parquet file without the names of parts in it: sets of one repository are told apart by it. */
const setOf = (name: string): string =>
  path.posix
    .dirname(name)
    .split('/')
    .filter((part) => splitOf(part) === undefined)
    .join('/');

/** All parts by the names that they can be asked for with. */
function partsOf(files: readonly RemoteFile[]): string[] {
  const sets = new Set(files.map(({ path: name }) => setOf(name)));
  const names = files.map(({ path: name }) => {
    const set = sets.size > 1 && name.endsWith('.parquet') ? `${setOf(name)}/` : '';
    return `${set}${splitOf(words(name)) ?? 'train'}`;
  });
  return [...new Set(names)].sort();
}

/** Where the list of a commit's data files is kept, beside what other programs keep there. */
const listFile = (cache: RepoCache, commit: string): string => path.join(cache.root, '.visurf', `${commit}.json`);

const listSchema = z.array(
  z.object({ path: z.string(), size: z.int().nonnegative(), oid: z.string(), sha256: z.boolean() }),
);

async function cachedPart(
  id: string,
  cache: RepoCache,
  commit: string,
  wanted: Part,
  isOffline: boolean,
): Promise<Chosen | undefined> {
  const snapshot = cache.snapshot(commit);
  const files = await listed(listFile(cache, commit));
  if (!files) {
    // Another program has downloaded it. Whether all of it is there nobody says.
    return isOffline && existsSync(snapshot)
      ? { files: [], folder: snapshot, split: wanted.split, others: [] }
      : undefined;
  }
  const chosen = choosePart(files, wanted, id, snapshot);
  const isThere = ({ path: name, size }: RemoteFile): boolean =>
    statSync(path.join(snapshot, name), { throwIfNoEntry: false })?.size === size;
  return chosen.files.every(isThere) ? chosen : undefined;
}

async function listed(file: string): Promise<RemoteFile[] | undefined> {
  try {
    const files = listSchema.parse(JSON.parse(await readFile(file, 'utf8')));
    return files.every(({ path: name }) => isPath(name)) ? files : undefined;
  } catch {
    return undefined; // None yet, or one that a full disk cut off: the hub is asked.
  }
}

async function fetchPart(session: Session, wanted: Part): Promise<Chosen> {
  const { id, cache, commit } = session;
  const entries = await session.list();
  const files = checkListing(entries, id, { noun: 'data set', choose: dataFiles, needsStrongHash: () => true });
  if (files.length === 0) throw nothingRead(id, entries.map(({ path: name }) => name)); // prettier-ignore
  const chosen = choosePart(files, wanted, id, cache.snapshot(commit));
  await session.download(chosen.files, { atOnce: AT_ONCE });
  const list = listFile(cache, commit);
  await mkdir(path.dirname(list), { recursive: true });
  replaceFile(list, JSON.stringify(files));
  return chosen;
}

/** What a repository holds in place of files that are read. */
function nothingRead(id: string, names: readonly string[]): UserError {
  const script = names.find((name) => name.endsWith('.py'));
  const pickle = names.find((name) => /\.(?:pkl|pickle|p|pt|pth|bin|npy|npz)$/i.test(name));
  const archive = names.find((name) => /\.(?:zip|tar|tgz|gz|zst|7z|rar|arrow)$/i.test(name));
  const remedy = `Where the hub has made parquet of it: ${id}@refs/convert/parquet. Else make files of it that are read (docs/data.md).`; // prettier-ignore
  const where = id;
  if (script)
    return new UserError(`it is a program that makes the data, which is not run: ${script}`, { where, remedy });
  if (pickle) return new UserError(`pickled data is not opened, since that can run any program: ${pickle}`, { where, remedy }); // prettier-ignore
  if (archive) return new UserError(`it holds archives, which are not read: ${archive}`, { where, remedy });
  return new UserError('it holds no data that is read: no parquet, JSON, CSV, XML or YAML', { where, remedy });
}
