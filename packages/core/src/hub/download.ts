/**
 * One file of the hub, whole and checked: a partial download is continued, and no file gets its name before its
 * content has the hash that the hub says.
 */
import { createHash, type Hash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { mkdir, open, rename, rm, stat, type FileHandle } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout } from 'node:timers/promises';

import { downloadFile } from '@huggingface/hub';

import { UserError } from '../errors.ts';
import { isTemporary, WORDS } from './failure.ts';
import type { Kind } from './id.ts';
import type { RemoteFile } from './listing.ts';
import { keepingToken } from './request.ts';

export interface Remote {
  readonly kind: Kind;
  readonly hubUrl: string;
  readonly id: string;
  readonly commit: string;
  readonly accessToken: string | undefined;
  /** Milliseconds before the first repetition; each next one waits twice as long. */
  readonly patience: number;
}

const attempts = 5;
/** A connection that brings nothing for so long, in milliseconds, is given up and tried again. */
const silence = 60_000;

/**
 * Downloads to `blob` unless it is there.
 * @param onBytes hears of bytes as they arrive, those of an earlier attempt included; negative when they are dropped
 */
export async function download(
  remote: Remote,
  file: RemoteFile,
  blob: string,
  onBytes: (count: number) => void,
): Promise<void> {
  if ((await sizeOf(blob)) === file.size) {
    onBytes(file.size);
    return;
  }
  await mkdir(path.dirname(blob), { recursive: true });
  const partial = `${blob}.incomplete`;
  const resumed = await sizeOf(partial);
  if (resumed > file.size) await rm(partial);
  for (let attempt = 1; ; attempt++) {
    const before = await sizeOf(partial);
    try {
      const digest = await fill(remote, file, partial, onBytes);
      if (digest === file.oid) {
        await rename(partial, blob);
        return;
      }
      await rm(partial);
      onBytes(-file.size);
      // What an earlier process left may have been damaged; what came whole in one piece is what the server has.
      if (before > 0 && attempt === 1) continue;
      throw new UserError(`the content has the hash ${digest}, the hub says ${file.oid}`, {
        where: `${remote.id}/${file.path}`,
        remedy: 'What came is not what the repository holds: try again, or check HF_ENDPOINT and the network between.',
      });
    } catch (error) {
      const now = await sizeOf(partial);
      const moved = now > before;
      if (!isTemporary(error) || (attempt >= attempts && !moved)) throw error;
      if (moved) attempt = 1; // counted are attempts that brought nothing
      onBytes(-now);
      await setTimeout(remote.patience * 2 ** (attempt - 1));
    }
  }
}

const sizeOf = async (file: string): Promise<number> => {
  try {
    return (await stat(file)).size;
  } catch {
    return 0;
  }
};

/** Appends what is missing of a partial file. @returns the hash of the whole */
async function fill(
  remote: Remote,
  file: RemoteFile,
  partial: string,
  onBytes: (count: number) => void,
): Promise<string> {
  const hash = hasher(file);
  const have = await sizeOf(partial);
  if (have > 0) for await (const chunk of createReadStream(partial)) hash.update(chunk as Buffer);
  onBytes(have);
  const handle = await open(partial, 'a');
  try {
    if (have < file.size) await receive(remote, file, have, handle, hash, onBytes);
    await handle.sync();
  } finally {
    await handle.close();
  }
  return hash.digest('hex');
}

/** Large files are named by their SHA-256, small ones as git names them. */
function hasher({ sha256, size }: RemoteFile): Hash {
  return sha256 ? createHash('sha256') : createHash('sha1').update(`blob ${size}\0`);
}

async function receive(
  { kind, hubUrl, id, commit, accessToken }: Remote,
  file: RemoteFile,
  have: number,
  handle: FileHandle,
  hash: Hash,
  onBytes: (count: number) => void,
): Promise<void> {
  const place = file.path.split('/').map(encodeURIComponent).join('/');
  const url = `${hubUrl}/${WORDS[kind].page}${id}/resolve/${commit}/${place}`;
  const stalled = new AbortController();
  const send = keepingToken(hubUrl);
  const watch = globalThis.setTimeout(() => {
    stalled.abort(new TypeError('fetch failed: no data'));
  }, silence);
  try {
    let failure: unknown;
    // A server that knows no ranges sends the beginning again.
    let skip = 0;
    const blob = await downloadFile({
      repo: { type: kind, name: id },
      path: file.path,
      revision: commit,
      hubUrl,
      xet: false,
      downloadInfo: { url, size: file.size, etag: file.oid },
      fetch: async (input, init) => {
        const response = await send(input, { ...init, signal: stalled.signal }).catch((error: unknown) => {
          failure = error;
          throw error;
        });
        if (!response.ok) {
          failure = Object.assign(new Error(response.statusText), { statusCode: response.status });
          throw failure;
        }
        if (response.status !== 206) skip = have;
        return response;
      },
      ...(accessToken && { accessToken }),
    });
    let left = file.size - have;
    try {
      const stream: AsyncIterable<Uint8Array> = (have > 0 ? blob!.slice(have, file.size) : blob!).stream();
      for await (const chunk of stream) {
        watch.refresh();
        const bytes = chunk.subarray(skip, skip + left);
        skip -= Math.min(skip, chunk.length);
        // Not `write`, which may write a part.
        await handle.appendFile(bytes);
        hash.update(bytes);
        onBytes(bytes.length);
        left -= bytes.length;
      }
    } catch (error) {
      throw failure ?? error;
    }
    if (left > 0) throw new TypeError('fetch failed: the connection ended early');
  } finally {
    clearTimeout(watch);
  }
}
