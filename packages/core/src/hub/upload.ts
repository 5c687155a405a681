/** A directory becomes a commit of a repository on the hub. What of it is there already is not sent again. */
import { openAsBlob, readdirSync, statSync } from 'node:fs';
import path from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { commitIter, createRepo, HubApiError } from '@huggingface/hub';
import { UserError } from '../errors.ts';
import { explain, isTemporary } from './failure.ts';
import type { DownloadProgress } from './repository.ts';
import { keepingToken } from './request.ts';

export interface UploadOptions {
  readonly hubUrl: string;
  readonly accessToken: string;
  readonly isPrivate: boolean;
  readonly title: string;
  readonly onProgress?: ((progress: DownloadProgress) => void) | undefined;
  readonly signal?: AbortSignal | undefined;
  /** Milliseconds before a failed request is tried again. */
  readonly patience?: number | undefined;
}

const ATTEMPTS = 4;

/** @returns the commit @throws UserError where the hub refuses, or cannot be reached */
export async function upload(id: string, directory: string, options: UploadOptions): Promise<string> {
  const { hubUrl, accessToken, isPrivate, signal, patience = 2000 } = options;
  const send = keepingToken(hubUrl);
  const common = { repo: { type: 'model' as const, name: id }, hubUrl, accessToken, fetch: send };
  try {
    await createRepo({ ...common, visibility: isPrivate ? 'private' : 'public' }).catch((error: unknown) => {
      // It is there already.
      if (!(error instanceof HubApiError && error.statusCode === 409)) throw error;
    });
    for (let attempt = 1; ; attempt++) {
      try {
        return await commit(id, directory, options, common);
      } catch (error) {
        signal?.throwIfAborted();
        if (attempt === ATTEMPTS || !isTemporary(error)) throw error;
        await setTimeout(patience * attempt, undefined, { ...(signal && { signal }) });
      }
    }
  } catch (error) {
    signal?.throwIfAborted();
    throw refused(error, id, hubUrl);
  }
}

async function commit(
  id: string,
  directory: string,
  { title, onProgress, signal }: UploadOptions,
  common: Pick<Parameters<typeof commitIter>[0], 'repo' | 'hubUrl' | 'fetch'> & { readonly accessToken: string },
): Promise<string> {
  const names = readdirSync(directory, { recursive: true, encoding: 'utf8' }).filter((name) =>
    statSync(path.join(directory, name)).isFile(),
  );
  const sizes = new Map(names.map((name) => [name, statSync(path.join(directory, name)).size]));
  const total = [...sizes.values()].reduce((sum, size) => sum + size, 0);
  const shares = new Map<string, number>();
  const done = (): number =>
    Math.round([...shares].reduce((sum, [name, share]) => sum + share * (sizes.get(name) ?? 0), 0));
  const operations = await Promise.all(
    names.map(async (name) => ({
      operation: 'addOrUpdate' as const,
      path: name.split(path.sep).join('/'),
      content: await openAsBlob(path.join(directory, name)),
    })),
  );
  // Its other protocol has a token of its own for another host.
  const events = commitIter({ ...common, title, operations, useXet: false, ...(signal && { abortSignal: signal }) });
  for (;;) {
    const { value, done: isOver } = await events.next();
    if (isOver) {
      onProgress?.({ id, done: total, total });
      return value?.commit.oid ?? '';
    }
    if (value.event !== 'fileProgress' || value.state !== 'uploading') continue;
    shares.set(value.path, value.progress);
    onProgress?.({ id, done: done(), total });
  }
}

function refused(error: unknown, id: string, hubUrl: string): unknown {
  const status = error instanceof HubApiError ? error.statusCode : undefined;
  if (status === 401 || status === 403) {
    return new UserError('the hub does not let this token write there', {
      where: id,
      remedy: `Use a token with the right to write (HF_TOKEN; ${hubUrl}/settings/tokens), and a name of your own or of your organisation.`,
      cause: error,
    });
  }
  const explained = explain(error, { kind: 'model', id, revision: 'main', hubUrl, hasToken: true });
  if (!(explained instanceof UserError)) return explained;
  const reason = explained.reason.replace('no such directory, and ', '');
  const remedy = 'What has arrived is not sent again: repeat the command.';
  return new UserError(reason, { where: id, remedy, cause: error });
}
