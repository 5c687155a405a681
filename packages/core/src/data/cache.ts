/**
 * What was found out about data, kept beside it, or in this user's cache where the data's folder cannot be written. All of it
 * may be deleted: it is found out again. Nothing here fails: what cannot be kept is not kept.
 */
import { createHash } from 'node:crypto';
import { mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import path from 'node:path';
import { removing } from '@visurf/torch/signals';
import { repositoryOf } from '../hub/id.ts';
import { dataHubName } from './hub.ts';
import { NEWLINE } from './lines.ts';

/** Name of the folder beside the data. */
const FOLDER = '.visurf-cache';

const digest = (text: string): string => createHash('sha256').update(text).digest('hex');

/** Where this user keeps what can be made again. */
export const userCache = (): string =>
  path.join(process.env.XDG_CACHE_HOME ?? path.join(homedir(), '.cache'), 'visurf');

export class DataCache {
  readonly #folders: readonly string[];

  /** The cache of a source, also of one of the hub. */
  static of(source: string): DataCache {
    return new DataCache(path.dirname(path.resolve(source)), dataHubName(source) === undefined);
  }

  /** @param folder that of the data, absolute */
  constructor(folder: string, isFolder = repositoryOf(folder) === undefined) {
    const own = path.join(userCache(), 'data', digest(folder).slice(0, 32));
    // The cache of downloads is one that other programs share.
    this.#folders = isFolder ? [path.join(folder, FOLDER), own] : [own];
  }

  /** The text of an entry; undefined where there is none. */
  read(name: string): string | undefined {
    return this.#bytes(name)?.toString();
  }

  /** The lines of an entry, one after the other; none where there is no entry. */
  *lines(name: string): Generator<string> {
    const bytes = this.#bytes(name);
    if (!bytes) return;
    let start = 0;
    for (let end = bytes.indexOf(NEWLINE); end >= 0; end = bytes.indexOf(NEWLINE, start)) {
      yield bytes.toString('utf8', start, end);
      start = end + 1;
    }
  }

  /** Replaces an entry, in the first folder that can be written. */
  write(name: string, text: string): void {
    for (const folder of this.#folders) {
      const file = path.join(folder, name);
      const aside = `${file}.${process.pid}.part`;
      try {
        mkdirSync(folder, { recursive: true });
        removing(aside, () => {
          writeFileSync(aside, text);
          renameSync(aside, file);
        });
        return;
      } catch {
        discard(aside);
      }
    }
  }

  #bytes(name: string): Buffer | undefined {
    for (const folder of this.#folders) {
      try {
        return readFileSync(path.join(folder, name));
      } catch {
        continue;
      }
    }
    return undefined;
  }
}

function discard(file: string): void {
  try {
    rmSync(file, { force: true });
  } catch {
    return;
  }
}

/** The name of an entry that holds for just these values. */
export const entryName = (kind: string, ...values: readonly unknown[]): string =>
  `${kind}-${digest(JSON.stringify(values)).slice(0, 32)}.json`;
