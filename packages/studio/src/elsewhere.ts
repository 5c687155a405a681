/**
 * Pictures that a run has not kept, from a folder that whoever starts the studio names: by file names that are the ids of
 * samples, or begin them. They are decoded and written anew, small, so that nothing but a picture leaves the folder.
 */
import { readdirSync, realpathSync } from 'node:fs';
import path from 'node:path';
import { UserError } from '@visurf/core/records';
import sharp from 'sharp';

/** Pixels of the longer side that is sent, and of a picture that is read. */
const SIDE = 640;
const LARGEST = 100_000_000;
/** Files that are listed. */
const MOST = 500_000;
const IMAGE = /\.(jpe?g|png|webp|gif|tiff?|avif)$/i;

export class Elsewhere {
  /** By name without its ending. */
  readonly #files: ReadonlyMap<string, string>;

  /** @throws UserError for what is no folder */
  constructor(folder: string) {
    const files = new Map<string, string>();
    try {
      const root = realpathSync(folder);
      for (const entry of readdirSync(root, { recursive: true, withFileTypes: true })) {
        if (!entry.isFile() || !IMAGE.test(entry.name)) continue;
        files.set(path.parse(entry.name).name, path.join(entry.parentPath, entry.name));
        if (files.size === MOST) break;
      }
    } catch {
      throw new UserError('there is no such folder', { where: folder, remedy: 'Name the folder of the pictures.' });
    }
    this.#files = files;
  }

  /** The picture of a sample as WebP; undefined where there is none, or it cannot be read. */
  async picture(id: string): Promise<Uint8Array<ArrayBuffer> | undefined> {
    const file = this.#fileOf(id);
    if (file === undefined) return undefined;
    try {
      const small = { width: SIDE, height: SIDE, fit: 'inside', withoutEnlargement: true } as const;
      const picture = sharp(file, { limitInputPixels: LARGEST }).autoOrient().resize(small);
      return Uint8Array.from(await picture.webp({ quality: 80 }).toBuffer());
    } catch {
      return undefined;
    }
  }

  /** `street-07` is the picture of the samples `street-07`, `street-07-car`, `street-07/2`. */
  #fileOf(id: string): string | undefined {
    for (let end = id.length; end > 0; end--) {
      const isWhole = end === id.length || !/[\p{L}\p{N}]/u.test(id[end]!);
      const file = isWhole ? this.#files.get(id.slice(0, end)) : undefined;
      if (file !== undefined) return file;
    }
    return undefined;
  }
}
