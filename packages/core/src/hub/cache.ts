/**
 * The cache of downloads, in the layout that Hugging Face's own tools share: `models--owner--name/` (`datasets--...`) with
 * `blobs/` by content, `refs/` from a revision to its commit, and a directory of links to blobs for each commit,
 * `snapshots/<commit>/`.
 */
import { readFileSync } from 'node:fs';
import { copyFile, mkdir, rename, rm, symlink } from 'node:fs/promises';
import { homedir } from 'node:os';
import path from 'node:path';

import { hasCode } from '../errors.ts';
import { replaceFile } from '../disk/durable.ts';
import type { Kind } from './id.ts';

/** The cache of a process: `HF_HUB_CACHE`, else `hub` in `HF_HOME`, else in the user's cache. */
export function defaultCacheDir(env: NodeJS.ProcessEnv = process.env): string {
  if (env.HF_HUB_CACHE) return env.HF_HUB_CACHE;
  return path.join(homeOf(env), 'hub');
}

export function homeOf(env: NodeJS.ProcessEnv = process.env): string {
  return env.HF_HOME ?? path.join(env.XDG_CACHE_HOME ?? path.join(homedir(), '.cache'), 'huggingface');
}

export class RepoCache {
  readonly root: string;

  constructor(cacheDir: string, kind: Kind, id: string) {
    this.root = path.join(cacheDir, `${kind}s--${id.replace('/', '--')}`);
  }

  snapshot(commit: string): string {
    return path.join(this.root, 'snapshots', commit);
  }
  blob(oid: string): string {
    return path.join(this.root, 'blobs', oid);
  }

  /** The commit that a revision was when it was last looked up. */
  commitOf(revision: string): string | undefined {
    if (isCommit(revision)) return revision;
    try {
      return readFileSync(path.join(this.root, 'refs', revision), 'utf8').trim() || undefined;
    } catch (error) {
      if (hasCode(error, 'ENOENT') || hasCode(error, 'ENOTDIR')) return undefined;
      throw error;
    }
  }

  async remember(revision: string, commit: string): Promise<void> {
    if (isCommit(revision)) return;
    const file = path.join(this.root, 'refs', revision);
    await mkdir(path.dirname(file), { recursive: true });
    replaceFile(file, commit);
  }

  /** Makes a file of a snapshot from its blob: a link, or a copy where links are not allowed. */
  async link(commit: string, name: string, oid: string): Promise<void> {
    const file = path.join(this.snapshot(commit), name);
    await mkdir(path.dirname(file), { recursive: true });
    const aside = `${file}.${process.pid}.tmp`;
    await rm(aside, { force: true });
    try {
      await symlink(path.relative(path.dirname(file), this.blob(oid)), aside);
    } catch (error) {
      if (!hasCode(error, 'EPERM') && !hasCode(error, 'ENOTSUP')) throw error;
      await copyFile(this.blob(oid), aside);
    }
    await rename(aside, file);
  }
}

export const isCommit = (revision: string): boolean => /^[0-9a-f]{40}$/.test(revision);
