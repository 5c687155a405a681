/**
 * Mirrors: benchmarks as parquet of the Hugging Face hub. Those that the published ViSurf figures were computed on have the
 * columns `text`, `image` (bytes), and `mask` (rows of true and false), `bbox` or both; others say themselves how they are
 * read (`forms`). Pictures and masks are read when they are needed, a row group at a time.
 */
import { existsSync, readdirSync } from 'node:fs';
import { open } from 'node:fs/promises';
import path from 'node:path';
import type { AsyncBuffer, FileMetaData } from 'hyparquet';
import { messageOf, UserError } from '../errors.ts';
import type { Box } from '../types.ts';
import type { Benchmark, Item, LoadOptions, MirrorRow } from './benchmark.ts';
import { emptyMask, type Mask } from '../masks/masks.ts';
import { publishedQuestion } from './referring.ts';

/** Parquet files of a folder, those of the split where names tell splits apart. */
export function mirrorFiles(folder: string, split: string): string[] {
  for (const place of [folder, path.join(folder, 'data')]) {
    if (!existsSync(place)) continue;
    const names = readdirSync(place).filter((name) => name.endsWith('.parquet'));
    const called = split === 'val' ? ['val-', 'validation-'] : [`${split}-`];
    const own = names.filter((name) => called.some((start) => name.startsWith(start)));
    if (names.length > 0) return (own.length > 0 ? own : names).sort().map((name) => path.join(place, name));
  }
  return [];
}

type Row = Readonly<Record<string, unknown>>;

/** One parquet file; the last piece of a column that was read is kept. */
class Table {
  readonly #file: string;
  readonly #metadata: FileMetaData;
  readonly #kept: Map<string, { start: number; rows: readonly Row[] }>;

  private constructor(file: string, metadata: FileMetaData) {
    this.#file = file;
    this.#metadata = metadata;
    this.#kept = new Map();
  }

  static async open(file: string): Promise<Table> {
    return await ofFile(file, async (buffer) => {
      const { parquetMetadataAsync } = await import('hyparquet');
      return new Table(file, await parquetMetadataAsync(buffer));
    });
  }

  get columns(): string[] {
    return this.#metadata.schema.map(({ name }) => name);
  }

  /** All rows of small columns. */
  async all(columns: readonly string[]): Promise<readonly Row[]> {
    return await this.#read(columns, 0, Number(this.#metadata.num_rows));
  }

  /** One value of a large column. */
  async value(column: string, row: number): Promise<unknown> {
    let kept = this.#kept.get(column);
    if (!kept || row < kept.start || row >= kept.start + kept.rows.length) {
      this.#requireRoom(column);
      const [start, end] = this.#groupOf(row);
      kept = { start, rows: await this.#read([column], start, end) };
      this.#kept.set(column, kept);
    }
    return kept.rows[row - kept.start]?.[column];
  }

  /**
   * A nested column is decoded by whole row groups. @throws UserError for more than memory is likely to have room for
   */
  #requireRoom(column: string): void {
    const sizes = this.#metadata.row_groups.map(({ columns }) => {
      const own = columns.find(({ meta_data: about }) => about?.path_in_schema[0] === column);
      return Number(own?.meta_data?.num_values ?? 0);
    });
    if (Math.max(0, ...sizes) <= MOST_VALUES) return;
    throw new UserError(`a row group has ${Math.max(...sizes)} values of the column "${column}"`, {
      where: this.#file,
      remedy: `Write the file again with smaller row groups: at most ${MOST_VALUES} values fit.`,
    });
  }

  #groupOf(row: number): [number, number] {
    let start = 0;
    for (const group of this.#metadata.row_groups) {
      const end = start + Number(group.num_rows);
      if (row < end) return [start, end];
      start = end;
    }
    return [row, row + 1];
  }

  async #read(columns: readonly string[], rowStart: number, rowEnd: number): Promise<readonly Row[]> {
    const metadata = this.#metadata;
    return await ofFile(this.#file, async (file) => {
      const { parquetReadObjects } = await import('hyparquet');
      const { compressors } = await import('hyparquet-compressors');
      return await parquetReadObjects({
        file,
        metadata,
        compressors,
        columns: [...columns],
        rowStart,
        rowEnd,
        utf8: false,
      });
    });
  }
}

/** @throws UserError that names the file */
async function ofFile<T>(file: string, read: (buffer: AsyncBuffer) => Promise<T>): Promise<T> {
  try {
    await using handle = await open(file);
    const { size: byteLength } = await handle.stat();
    return await read({
      byteLength,
      async slice(start, end = byteLength) {
        const from = start < 0 ? byteLength + start : start;
        const buffer = new ArrayBuffer(Math.max(0, Math.min(end, byteLength) - from));
        await handle.read(new Uint8Array(buffer), 0, buffer.byteLength, from);
        return buffer;
      },
    });
  } catch (error) {
    throw new UserError(`damaged or unreadable parquet: ${messageOf(error)}`, {
      where: file,
      remedy: 'Download it again.',
    });
  }
}

/** Limit of one column in one row group: pixels of masks. */
const MOST_VALUES = 200e6;

const NEEDED = ['text', 'image'];

/**
 * Questions of a mirror.
 * @param pictures folder that pictures are to be written to
 * @throws UserError where a column is missing
 */
export async function loadMirror(
  files: readonly string[],
  benchmark: Benchmark,
  options: LoadOptions,
  pictures: string,
): Promise<Item[]> {
  const { protocol } = options;
  const items: Item[] = [];
  let rows = 0;
  for (const file of files) {
    const table = await Table.open(file);
    const form = benchmark.forms?.find(({ columns, picture }) =>
      [...columns, picture].every((column) => table.columns.includes(column)),
    );
    if (form) {
      for (const [row, values] of (await table.all(form.columns)).entries()) {
        const number = rows++;
        const where = `${file}: row ${row + 1}`;
        const picture = async () => bytesOf(await table.value(form.picture, row), where);
        const own = form.read(plain(values) as Row, { ...options, where, number, picture });
        items.push(...own.map((item) => ({ ...item, images: [path.join(pictures, `${number}.png`)], picture })));
      }
      continue;
    }
    const missing = NEEDED.find((column) => !table.columns.includes(column));
    if (missing !== undefined || !benchmark.mirrored) {
      const reason =
        missing === undefined ? `${benchmark.name} is not read from parquet` : `there is no column "${missing}"`;
      throw new UserError(reason, { where: file, remedy: 'docs/benchmarks.md lists what is read.' });
    }
    const hasMask = table.columns.includes('mask');
    const small = ['text', 'bbox'].filter((column) => table.columns.includes(column));
    for (const [row, { text, bbox }] of (await table.all(small)).entries()) {
      const where = `${file}: row ${row + 1}`;
      const question = textOf(text);
      const id = String(items.length);
      items.push({
        id,
        images: [path.join(pictures, `${id}.png`)],
        problem: protocol === 'visurf' ? publishedQuestion(question) : question,
        truth: benchmark.mirrored({
          text: question,
          box: boxOf(bbox),
          mask: async () => maskOf(hasMask ? await table.value('mask', row) : undefined, where),
        } satisfies MirrorRow),
        picture: async () => bytesOf(await table.value('image', row), where),
      });
    }
  }
  return items;
}

/** Bytes as text, and whole numbers as numbers, however deep. */
function plain(value: unknown): unknown {
  if (value instanceof Uint8Array) return new TextDecoder().decode(value);
  if (typeof value === 'bigint') return Number(value);
  if (Array.isArray(value) || ArrayBuffer.isView(value)) return Array.from(value as unknown[], plain);
  if (typeof value !== 'object' || value === null || value instanceof Date) return value;
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, plain(inner)]));
}

const textOf = (value: unknown): string =>
  value instanceof Uint8Array ? new TextDecoder().decode(value) : String(value);

function boxOf(value: unknown): Box | undefined {
  const numbers = Array.isArray(value) ? value.map(Number) : [];
  return numbers.length === 4 && numbers.every(Number.isFinite) ? (numbers as unknown as Box) : undefined;
}

function maskOf(value: unknown, where: string): Mask {
  const rows = Array.isArray(value) ? (value as unknown[][]) : [];
  const [height, width] = [rows.length, rows[0]?.length ?? 0];
  if (height === 0 || rows.some((row) => !Array.isArray(row) || row.length !== width)) {
    throw new UserError('there is no mask', { where });
  }
  const mask = emptyMask(width, height);
  rows.forEach((row, y) => row.forEach((each, x) => (mask.data[y * width + x] = Number(each === true))));
  return mask;
}

function bytesOf(value: unknown, where: string): Uint8Array {
  const bytes = typeof value === 'object' && value !== null && 'bytes' in value ? value.bytes : undefined;
  if (bytes instanceof Uint8Array) return bytes;
  throw new UserError('there is no picture', { where });
}
