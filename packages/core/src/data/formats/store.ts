/** Images that a set holds as bytes become files, named by what they hold. */
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, rename, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { fileError } from '../../errors.ts';
import { userCache } from '../cache.ts';

export interface ImageStore {
  /** The file that holds these bytes. */
  put(bytes: Uint8Array): Promise<string>;
  /** Where those files are. */
  readonly folder?: string | undefined;
}

/** @throws UserError where the folder cannot be written */
export function folderStore(folder: string): ImageStore {
  return {
    folder,
    async put(bytes) {
      const hash = createHash('sha256').update(bytes).digest('hex').slice(0, 32);
      const file = path.join(folder, `${hash}${extensionOf(bytes)}`);
      if (existsSync(file)) return file;
      try {
        await mkdir(folder, { recursive: true });
        const part = `${file}.${process.pid}.part`;
        await writeFile(part, bytes);
        await rename(part, file);
      } catch (error) {
        throw fileError(error, { where: folder });
      }
      return file;
    },
  };
}

/** Where training keeps the images of sets that hold them as bytes. */
export const cacheStore = (): ImageStore => folderStore(path.join(userCache(), 'images'));

function extensionOf(bytes: Uint8Array): string {
  const head = Buffer.from(bytes.buffer, bytes.byteOffset, Math.min(16, bytes.length)).toString('latin1');
  if (head.startsWith('\x89PNG')) return '.png';
  if (head.startsWith('\xff\xd8')) return '.jpg';
  if (head.startsWith('RIFF')) return '.webp';
  if (head.startsWith('GIF8')) return '.gif';
  if (head.startsWith('II*') || head.startsWith('MM\0*')) return '.tiff';
  return head.slice(4, 8) === 'ftyp' ? '.avif' : '.bin';
}
