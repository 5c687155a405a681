/** Datasets as files: PNG pictures, and JSONL files with a line for every question. */
import { mkdir, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

import sharp from 'sharp';

import { SIDE } from './scenes.ts';

/** A picture with its questions. */
export interface Drawn<Line> {
  /** Name of the picture's file, without folder and extension. */
  readonly name: string;
  /** SIDE x SIDE pixels of red, green, blue, row by row. */
  readonly pixels: Uint8Array;
  readonly lines: readonly Line[];
}

export interface FileOptions {
  readonly onProgress?: ((done: number, total: number) => void) | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** Images written at the same time. */
const AT_ONCE = 16;

/** Where the picture of that name is, relative to the JSONL file. */
export const imagePath = (name: string): string => `images/${name}.png`;

export class DatasetFiles {
  readonly #directory: string;
  readonly #total: number;
  readonly #options: FileOptions;
  #done = 0;

  /** @param total pictures that will be written, for progress */
  constructor(directory: string, total: number, options: FileOptions) {
    this.#directory = directory;
    this.#total = total;
    this.#options = options;
  }

  /**
   * Writes `DIRECTORY/NAME.jsonl` with the lines of so many pictures, after the pictures themselves.
   * @returns its path
   */
  async write<Line>(
    name: string,
    pictures: number,
    draw: (number: number) => Drawn<Line> | Promise<Drawn<Line>>,
  ): Promise<string> {
    const { onProgress, signal } = this.#options;
    await mkdir(join(this.#directory, 'images'), { recursive: true });
    const lines: Line[] = [];
    for (let start = 0; start < pictures; start += AT_ONCE) {
      signal?.throwIfAborted();
      const numbers = Array.from({ length: Math.min(AT_ONCE, pictures - start) }, (_, i) => start + i);
      lines.push(...(await Promise.all(numbers.map(async (number) => this.#save(await draw(number))))).flat());
      this.#done += numbers.length;
      onProgress?.(this.#done, this.#total);
    }
    const file = join(this.#directory, `${name}.jsonl`);
    await writeFile(`${file}.partial`, lines.map((line) => `${JSON.stringify(line)}\n`).join(''));
    await rename(`${file}.partial`, file);
    return file;
  }

  async #save<Line>({ name, pixels, lines }: Drawn<Line>): Promise<readonly Line[]> {
    await sharp(pixels, { raw: { width: SIDE, height: SIDE, channels: 3 } })
      .png({ compressionLevel: 3 })
      .toFile(join(this.#directory, imagePath(name)));
    return lines;
  }
}
