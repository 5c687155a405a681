/**
 * Embeddings of pictures on disk, a file each: a line that says what is in it, then the numbers. Those that were used longest
 * ago go when there are more bytes than may be; a file that is damaged is made anew.
 */
import { mkdir, readdir, readFile, rename, rm, stat, utimes, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { z } from 'zod';
import type { Numbers } from './exported.ts';

type Embeddings = Readonly<Record<string, Numbers>>;

const headerSchema = z.record(z.string(), z.array(z.int().positive()));
const END = '.embedding';

export class EmbeddingStore {
  readonly #folder: string;
  readonly #bytes: number;

  /** @param bytes that may be kept; the latest is kept in any case */
  constructor(folder: string, bytes: number) {
    this.#folder = folder;
    this.#bytes = bytes;
  }

  async get(key: string, make: () => Promise<Embeddings>): Promise<Embeddings> {
    const file = path.join(this.#folder, `${key}${END}`);
    const kept = await read(file);
    if (kept) {
      const now = new Date();
      await utimes(file, now, now);
      return kept;
    }
    const made = await make();
    await this.#write(file, made);
    return made;
  }

  async #write(file: string, embeddings: Embeddings): Promise<void> {
    await mkdir(this.#folder, { recursive: true });
    const entries = Object.entries(embeddings);
    const header = JSON.stringify(Object.fromEntries(entries.map(([name, { dims }]) => [name, dims])));
    const numbers = entries.map(([, { data }]) => new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
    const temporary = `${file}.${process.pid}`;
    await writeFile(temporary, Buffer.concat([Buffer.from(`${header}\n`), ...numbers]));
    await rename(temporary, file);
    await this.#forget(file);
  }

  async #forget(latest: string): Promise<void> {
    const names = (await readdir(this.#folder)).filter((name) => name.endsWith(END));
    const files = await Promise.all(
      names.map(async (name) => {
        const file = path.join(this.#folder, name);
        const { size, mtimeMs } = await stat(file);
        return { file, size, used: mtimeMs };
      }),
    );
    let rest = files.reduce((sum, { size }) => sum + size, 0);
    for (const { file, size } of files.sort((a, b) => a.used - b.used)) {
      if (rest <= this.#bytes) return;
      if (file === latest) continue;
      await rm(file, { force: true });
      rest -= size;
    }
  }
}

/** Undefined where there is no such file, or it does not hold what its first line says. */
async function read(file: string): Promise<Embeddings | undefined> {
  try {
    const bytes = await readFile(file);
    const line = bytes.indexOf('\n');
    const header = headerSchema.parse(JSON.parse(bytes.subarray(0, line).toString()));
    // Numbers begin at a multiple of four in a copy.
    const numbers = new Float32Array(new Uint8Array(bytes.subarray(line + 1)).buffer);
    let at = 0;
    const found = Object.entries(header).map(([name, dims]): [string, Numbers] => {
      const length = dims.reduce((product, each) => product * each, 1);
      const data = numbers.subarray(at, (at += length));
      return [name, { data, dims }];
    });
    return at === numbers.length ? Object.fromEntries(found) : undefined;
  } catch {
    return undefined;
  }
}
