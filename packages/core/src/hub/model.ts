/** A model by its directory or by its name on the hub, as a directory on this machine. */
import { existsSync, readFileSync } from 'node:fs';
import { mkdir, readFile, statfs } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout } from 'node:timers/promises';

import { listFiles, modelInfo, type ListFileEntry } from '@huggingface/hub';

import { UserError } from '../errors.ts';
import { lockDirectory } from '../disk/lock.ts';
import { defaultCacheDir, homeOf, isCommit, RepoCache, shardsOf } from './cache.ts';
import { download, type Remote } from './download.ts';
import { explain, isNetwork, isTemporary, type Asked } from './failure.ts';
import { hasWeights, MAX_FILES, readListing, type RemoteFile } from './files.ts';
import { isHubId } from './id.ts';
import { describing } from './request.ts';

/** Bytes over all files of the model. */
export interface DownloadProgress {
  readonly id: string;
  readonly done: number;
  readonly total: number;
}

export interface HubOptions {
  /** Branch, tag or commit; unset: `main`. */
  readonly revision?: string | undefined;
  /** Unset: `HF_TOKEN`, or what a login left in `HF_HOME`. */
  readonly token?: string | undefined;
  /** Only the cache, no request; unset: as `HF_HUB_OFFLINE` says. */
  readonly offline?: boolean | undefined;
  /** Unset: as `HF_HUB_CACHE` and `HF_HOME` say. */
  readonly cacheDir?: string | undefined;
  /** Unset: as `HF_ENDPOINT` says. */
  readonly endpoint?: string | undefined;
  readonly onProgress?: ((progress: DownloadProgress) => void) | undefined;
  readonly onWarning?: ((message: string) => void) | undefined;
}

export interface LocalModelOptions extends HubOptions {
  /** False where config, tokenizer and image settings are enough. */
  readonly weights?: boolean;
  /** Milliseconds before a failed request is tried again. */
  readonly patience?: number;
}

const isSet = (value: string | undefined): boolean => value !== undefined && /^(1|true|yes|on)$/i.test(value);

/**
 * A directory with the model's files: the given one, or a snapshot in the cache that is completed from the hub.
 * @throws UserError for a model that does not exist, is gated, cannot be reached, or does not arrive as it should.
 */
export async function localModel(idOrDirectory: string, options: LocalModelOptions = {}): Promise<string> {
  const { revision = 'main', weights = true } = options;
  if (!isHubId(idOrDirectory)) {
    if (options.revision === undefined) return idOrDirectory;
    throw new UserError('a directory has no revisions', {
      where: idOrDirectory,
      remedy: 'Leave the revision out, or name a model of the hub, owner/name.',
    });
  }
  if (!/^\w[\w./-]*$/.test(revision) || revision.includes('..')) {
    throw new UserError(`${JSON.stringify(revision)} is no revision`, { where: idOrDirectory });
  }
  const cache = new RepoCache(options.cacheDir ?? defaultCacheDir(), idOrDirectory);
  const cached = await cache.complete(revision, weights);
  if (options.offline ?? isSet(process.env.HF_HUB_OFFLINE)) {
    if (cached) return cached;
    throw new UserError('no such directory, and the model is not in the cache', {
      where: idOrDirectory,
      remedy: `Without HF_HUB_OFFLINE it is downloaded once. The cache is ${path.dirname(cache.root)}.`,
    });
  }
  if (cached && cache.commitOf(revision) === revision) return cached;
  const hubUrl = hubUrlOf(options);
  const accessToken = tokenOf(options);
  const asked: Asked = { id: idOrDirectory, revision, hubUrl, hasToken: accessToken !== undefined };
  try {
    return await fetchModel(asked, cache, { ...options, weights, accessToken });
  } catch (error) {
    if (cached && isNetwork(error)) {
      options.onWarning?.(`the hub cannot be reached: ${idOrDirectory} is taken from the cache as it is`);
      return cached;
    }
    throw explain(error, asked);
  }
}

export const hubUrlOf = ({ endpoint }: Pick<HubOptions, 'endpoint'>): string =>
  (endpoint ?? process.env.HF_ENDPOINT ?? 'https://huggingface.co').replace(/\/+$/, '');

/** @throws UserError for what is no token */
export function tokenOf({ token }: Pick<HubOptions, 'token'>): string | undefined {
  const login = path.join(homeOf(), 'token');
  const found = token ?? process.env.HF_TOKEN ?? (existsSync(login) ? readFileSync(login, 'utf8') : undefined);
  const trimmed = found?.trim();
  if (trimmed && !trimmed.startsWith('hf_')) {
    throw new UserError('the token of the hub does not begin with hf_', { remedy: 'Check HF_TOKEN.' });
  }
  return trimmed === '' ? undefined : trimmed;
}

type Fetching = LocalModelOptions & { readonly weights: boolean; readonly accessToken: string | undefined };

async function fetchModel({ id, revision, hubUrl }: Asked, cache: RepoCache, options: Fetching): Promise<string> {
  const { accessToken, patience = 1000, weights } = options;
  const credentials = accessToken === undefined ? {} : { accessToken };
  const describe = describing(hubUrl, id);
  const again = <T>(request: () => Promise<T>): Promise<T> => repeated(request, patience);
  const { sha: commit } = await again(() =>
    modelInfo({ name: id, revision, hubUrl, fetch: describe, additionalFields: ['sha'], ...credentials }),
  );
  if (!isCommit(commit)) throw new UserError('the hub names no commit of this revision', { where: id });
  const remote: Remote = { hubUrl, id, commit, accessToken, patience };
  const complete = await cache.complete(commit, weights);
  if (!complete) {
    const entries = await again(async () => {
      const found: ListFileEntry[] = [];
      const listing = listFiles({ repo: id, revision: commit, hubUrl, fetch: describe, ...credentials });
      for await (const entry of listing) {
        // One more is refused below.
        if (found.push(entry) > MAX_FILES) break;
      }
      return found;
    });
    const files = readListing(entries, weights, id);
    checkFiles(files, entries, id, weights);
    await downloadAll(remote, files, cache, options);
  }
  await cache.remember(revision, commit);
  return cache.snapshot(commit);
}

async function repeated<T>(request: () => Promise<T>, patience: number): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await request();
    } catch (error) {
      if (attempt === 3 || !isTemporary(error)) throw error;
      await setTimeout(patience * attempt);
    }
  }
}

function checkFiles(
  files: readonly RemoteFile[],
  entries: readonly ListFileEntry[],
  id: string,
  weights: boolean,
): void {
  if (!files.some(({ path: name }) => name === 'config.json' || name === 'adapter_config.json')) {
    throw new UserError('the repository is no model: it has no config.json', { where: id });
  }
  if (!weights || hasWeights(files)) return;
  const pickled = entries.some(({ path: name }) => /\.(bin|pt|pth|pkl|ckpt)$/.test(name));
  throw new UserError('the repository has no weights as safetensors', {
    where: id,
    remedy: pickled
      ? 'Pickled weights are not loaded: opening one can run any program. Convert them first.'
      : undefined,
  });
}

async function downloadAll(
  remote: Remote,
  files: readonly RemoteFile[],
  cache: RepoCache,
  { onProgress, patience = 1000 }: LocalModelOptions,
): Promise<void> {
  const { id, commit } = remote;
  await mkdir(cache.root, { recursive: true });
  const lock = await lockDirectory(cache.root, patience);
  try {
    let wanted = files;
    let total = files.reduce((sum, { size }) => sum + size, 0);
    await checkSpace(cache, files);
    let done = 0;
    for (const file of files) {
      if (!wanted.includes(file)) continue;
      await download(remote, file, cache.blob(file.oid), (count) => {
        done += count;
        onProgress?.({ id, done, total });
      });
      await cache.link(commit, file.path, file.oid);
      if (!file.path.endsWith('.index.json')) continue;
      const shards = shardsOf(await readFile(cache.blob(file.oid), 'utf8'));
      const lacking = shards.find((name) => !files.some((each) => each.path === name));
      if (lacking) throw new UserError(`${file.path} names ${lacking}, which the repository lacks`, { where: id });
      wanted = files.filter(({ path: name }) => !name.startsWith('model-') || shards.includes(name));
      total = wanted.reduce((sum, { size }) => sum + size, 0);
    }
  } finally {
    lock.release();
  }
}

async function checkSpace(cache: RepoCache, files: readonly RemoteFile[]): Promise<void> {
  const needed = files.filter(({ oid }) => !existsSync(cache.blob(oid))).reduce((sum, { size }) => sum + size, 0);
  const { bavail, bsize } = await statfs(cache.root);
  if (bavail * bsize >= needed) return;
  const gigabytes = (bytes: number): string => `${(bytes / 1e9).toFixed(1)} GB`;
  throw new UserError(`the model needs ${gigabytes(needed)}, the disk has ${gigabytes(bavail * bsize)} left`, {
    where: cache.root,
    remedy: 'Free some space, or put the cache elsewhere with HF_HOME.',
  });
}
