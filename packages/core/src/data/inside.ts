/** Whether files lie in the folders that a dataset may use, whatever links say. */
import { lstatSync, realpathSync } from 'node:fs';
import path from 'node:path';
import { repositoryOf } from '../hub/id.ts';

const contains = (folder: string, file: string): boolean => {
  const way = path.relative(folder, file);
  return way !== '' && way !== '..' && !way.startsWith(`..${path.sep}`) && !path.isAbsolute(way);
};

/** Folders, and all below them. */
export class Territory {
  readonly #folders = new Set<string>();
  readonly #real = new Set<string>();
  /** Where folders of files really are; undefined where they are not there. */
  readonly #places = new Map<string, string | undefined>();

  /** @param folders absolute */
  constructor(folders: Iterable<string>) {
    for (const folder of folders) this.add(folder);
  }

  add(folder: string): void {
    if (this.#folders.has(folder)) return;
    this.#folders.add(folder);
    const real = realOf(folder) ?? folder;
    this.#real.add(real);
    const blobs = blobsOf(real);
    if (blobs !== undefined) this.#real.add(blobs);
  }

  /** Whether a file lies there by its name. @param file absolute */
  names(file: string): boolean {
    return [...this.#folders].some((folder) => contains(folder, file)) || this.#holds(file);
  }

  /** @param file absolute; one that is not there is judged by its name */
  has(file: string): boolean {
    if (!this.names(file)) return false;
    const folder = path.dirname(file);
    if (!this.#places.has(folder)) this.#places.set(folder, realOf(folder));
    const place = this.#places.get(folder);
    if (place === undefined) return true;
    const real = isLink(file) ? realOf(file) : path.join(place, path.basename(file));
    return real === undefined || this.#holds(real);
  }

  #holds(file: string): boolean {
    return [...this.#real].some((folder) => contains(folder, file));
  }
}

/** Where links of a snapshot of a set on the hub lead to; undefined elsewhere, and where that is itself a link. */
function blobsOf(folder: string): string | undefined {
  const repository = repositoryOf(folder);
  const blobs = repository && path.join(repository, 'blobs');
  return blobs !== undefined && realOf(blobs) === blobs ? blobs : undefined;
}

/** Names that no file can have are those of none. */
function isLink(file: string): boolean {
  try {
    return lstatSync(file, { throwIfNoEntry: false })?.isSymbolicLink() ?? false;
  } catch {
    return false;
  }
}

/** Where a file really is; undefined where it is not there. */
export function realOf(file: string): string | undefined {
  try {
    return realpathSync(file);
  } catch {
    return undefined;
  }
}
