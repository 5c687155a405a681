/** A repository of the hub, a model or a data set: what is in the cache of it, its files, and their downloads. */
import { existsSync, readFileSync } from 'node:fs';
import { mkdir, statfs } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { datasetInfo, listFiles, modelInfo } from '@huggingface/hub';
import { lockDirectory } from '../disk/lock.ts';
import { UserError } from '../errors.ts';
import { defaultCacheDir, homeOf, isCommit, RepoCache } from './cache.ts';
import { download, type Remote } from './download.ts';
import { explain, isNetwork, isTemporary, WORDS, type Asked } from './failure.ts';
import type { HubName, Kind } from './id.ts';
import { MAX_FILES, type RemoteFile } from './listing.ts';
import { describing } from './request.ts';

/** Bytes over all files that are downloaded. */
export interface DownloadProgress {
  readonly id: string;
  readonly done: number;
  readonly total: number;
}

export interface HubOptions {
  /** Branch, tag or commit; unset: that of the name (`owner/name@revision`), else `main`. */
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

export interface RepositoryOptions extends HubOptions {
  /** Milliseconds before a failed request is tried again. */
  readonly patience?: number;
  readonly signal?: AbortSignal | undefined;
}

/** A file or a folder, as the hub lists it. */
export interface ListedFile {
  readonly type: string;
  readonly path: string;
  readonly size: number;
  readonly oid?: string | undefined;
  readonly lfs?: { readonly oid: string; readonly size: number } | undefined;
}

/** What is wanted of a repository. */
export interface Wanted<T> {
  /** What the cache has of it; undefined where something is missing. */
  cached(cache: RepoCache, commit: string, isOffline: boolean): T | undefined | Promise<T | undefined>;
  fetch(session: Session): Promise<T>;
}

const isSet = (value: string | undefined): boolean => value !== undefined && /^(1|true|yes|on)$/i.test(value);

/**
 * What is wanted, from the cache as far as it can be had there.
 * @throws UserError for a repository that does not exist, is gated, cannot be reached, or does not arrive as it should
 */
export async function fromHub<T>(
  kind: Kind,
  { id, revision: named }: HubName,
  wanted: Wanted<T>,
  options: RepositoryOptions,
): Promise<T> {
  const { noun, place } = WORDS[kind];
  if (named !== undefined && options.revision !== undefined && named !== options.revision) {
    throw new UserError(`two revisions are named, ${named} and ${options.revision}`, { where: id });
  }
  const revision = options.revision ?? named ?? 'main';
  if (!/^\w[\w./-]*$/.test(revision) || revision.includes('..')) {
    throw new UserError(`${JSON.stringify(revision)} is no revision`, { where: id });
  }
  const cache = new RepoCache(options.cacheDir ?? defaultCacheDir(), kind, id);
  const isOffline = options.offline ?? isSet(process.env.HF_HUB_OFFLINE);
  const known = cache.commitOf(revision);
  const cached = known === undefined ? undefined : await wanted.cached(cache, known, isOffline);
  if (isOffline) {
    if (cached !== undefined) return cached;
    throw new UserError(`no such ${place}, and the ${noun} is not in the cache`, {
      where: id,
      remedy: `Without HF_HUB_OFFLINE it is downloaded once. The cache is ${path.dirname(cache.root)}.`,
    });
  }
  if (cached !== undefined && known === revision) return cached;
  const hubUrl = hubUrlOf(options);
  const accessToken = tokenOf(options);
  const asked: Asked = { kind, id, revision, hubUrl, hasToken: accessToken !== undefined };
  try {
    const session = await Session.open(asked, cache, { ...options, accessToken });
    const found = (await wanted.cached(cache, session.commit, isOffline)) ?? (await wanted.fetch(session));
    await cache.remember(revision, session.commit);
    return found;
  } catch (error) {
    if (cached !== undefined && isNetwork(error) && options.signal?.aborted !== true) {
      options.onWarning?.(`the hub cannot be reached: ${id} is taken from the cache as it is`);
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

interface DownloadOptions {
  /** Files that are downloaded at the same time. */
  readonly atOnce?: number;
  /** Called when a file has come; returns the files that are wanted after all. */
  readonly narrow?: ((file: RemoteFile) => Promise<readonly RemoteFile[] | undefined>) | undefined;
}

type SessionOptions = RepositoryOptions & { readonly accessToken: string | undefined };

/** A repository at one commit, as the hub has it. */
export class Session {
  readonly id: string;
  readonly commit: string;
  readonly cache: RepoCache;
  readonly #remote: Remote;
  readonly #options: SessionOptions;
  readonly #describe: typeof fetch;

  /** Asks which commit the revision is. */
  static async open(asked: Asked, cache: RepoCache, options: SessionOptions): Promise<Session> {
    const { kind, id, revision, hubUrl } = asked;
    const { accessToken, patience = 1000 } = options;
    const describe = describing(hubUrl, id);
    const credentials = accessToken === undefined ? {} : { accessToken };
    const question = { name: id, revision, hubUrl, fetch: describe, ...credentials };
    const { sha: commit } = await repeated<{ readonly sha: string }>(
      () =>
        kind === 'model'
          ? modelInfo({ ...question, additionalFields: ['sha'] })
          : datasetInfo({ ...question, additionalFields: ['sha'] }),
      patience,
    );
    if (!isCommit(commit)) throw new UserError('the hub names no commit of this revision', { where: id });
    return new Session({ kind, hubUrl, id, commit, accessToken, patience }, cache, options, describe);
  }

  private constructor(remote: Remote, cache: RepoCache, options: SessionOptions, describe: typeof fetch) {
    ({ id: this.id, commit: this.commit } = remote);
    this.cache = cache;
    this.#remote = remote;
    this.#options = options;
    this.#describe = describe;
  }

  /** All files; nothing about them is checked. */
  async list(): Promise<ListedFile[]> {
    const { kind, id, commit, hubUrl, accessToken, patience } = this.#remote;
    return await repeated(async () => {
      const found: ListedFile[] = [];
      const listing = listFiles({
        ...{ repo: { type: kind, name: id }, revision: commit, hubUrl, fetch: this.#describe },
        // A model is what lies in the folder itself.
        ...{ recursive: kind === 'dataset', ...(accessToken !== undefined && { accessToken }) },
      });
      for await (const entry of listing) {
        // One more is refused where they are checked.
        if (found.push(entry) > MAX_FILES) break;
      }
      return found;
    }, patience);
  }

  /** Downloads files into the snapshot. */
  async download(files: readonly RemoteFile[], { atOnce = 1, narrow }: DownloadOptions = {}): Promise<void> {
    const { cache, commit, id } = this;
    const { onProgress, patience = 1000, signal } = this.#options;
    await mkdir(cache.root, { recursive: true });
    const lock = await lockDirectory(cache.root, patience);
    try {
      let wanted = new Set(files);
      let total = bytesOf(files);
      let done = 0;
      await this.#checkSpace(files);
      const queue = [...files];
      const worker = async (): Promise<void> => {
        for (let file = queue.shift(); file !== undefined; file = queue.shift()) {
          signal?.throwIfAborted();
          if (!wanted.has(file)) continue;
          await download(this.#remote, file, cache.blob(file.oid), (count) => {
            done += count;
            onProgress?.({ id, done, total });
          });
          await cache.link(commit, file.path, file.oid);
          const left = await narrow?.(file);
          if (left) [wanted, total] = [new Set(left), bytesOf(left)];
        }
      };
      const stopping = (error: unknown): never => {
        queue.length = 0;
        throw error;
      };
      const workers = Array.from({ length: atOnce }, () => worker().catch(stopping));
      // The lock is held as long as one of them writes.
      for (const end of await Promise.allSettled(workers)) if (end.status === 'rejected') throw end.reason;
    } finally {
      lock.release();
    }
  }

  async #checkSpace(files: readonly RemoteFile[]): Promise<void> {
    const { cache } = this;
    const needed = bytesOf(files.filter(({ oid }) => !existsSync(cache.blob(oid))));
    const { bavail, bsize } = await statfs(cache.root);
    if (bavail * bsize >= needed) return;
    const gigabytes = (bytes: number): string => `${(bytes / 1e9).toFixed(1)} GB`;
    const { noun } = WORDS[this.#remote.kind];
    throw new UserError(`the ${noun} needs ${gigabytes(needed)}, the disk has ${gigabytes(bavail * bsize)} left`, {
      where: cache.root,
      remedy: 'Free some space, or put the cache elsewhere with HF_HOME.',
    });
  }
}

const bytesOf = (files: readonly RemoteFile[]): number => files.reduce((sum, { size }) => sum + size, 0);

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
