/** Hugging Face's parquet: images as bytes or paths, read row group by row group. */
import type { FileHandle } from 'node:fs/promises';
import path from 'node:path';
import type { AsyncBuffer, FileMetaData } from 'hyparquet';
import { messageOf, UserError } from '../../errors.ts';
import { openFile } from '../../regular.ts';
import { fromColumns } from './columns.ts';
import { isObject } from './record.ts';
import type { Reader } from './reader.ts';
import { isOfSplit, splitsIn } from './source.ts';

/** Rows in memory at once: they hold whole images. */
const ROWS = 64;

export const parquet: Reader = {
  name: 'parquet',
  knows: ({ extension }) => extension === 'parquet',
  async *read(source, context) {
    const all = source.files.filter((file) => file.endsWith('.parquet'));
    const isOf = (file: string): boolean => isOfSplit(path.relative(source.root, file), source.split!);
    const isSplit = source.split !== undefined && (splitsIn(all, source.root).length > 0 || all.some(isOf));
    for (const file of all) {
      if (isSplit && !isOf(file)) continue;
      let record = 0;
      await using handle = await openFile(file);
      const { size } = await handle.stat();
      for await (const { rows, classes } of readRows(file, fileBuffer(handle, size))) {
        for (const row of rows) yield* fromColumns(row, { file, record: ++record }, context, classes);
      }
    }
  },
};

/** What lies beyond the file reads as nothing: a rejection might be one that the parser waits for no more. */
const fileBuffer = (handle: FileHandle, byteLength: number): AsyncBuffer => ({
  byteLength,
  async slice(start, end = byteLength) {
    const from = start < 0 ? byteLength + start : start;
    const length = Math.min(end, byteLength) - from;
    if (!(from >= 0 && length > 0)) return new ArrayBuffer(0);
    const buffer = new ArrayBuffer(length);
    await handle.read(new Uint8Array(buffer), 0, length, from);
    return buffer;
  },
});

/** @throws UserError that names the file */
async function* readRows(
  file: string,
  buffer: AsyncBuffer,
): AsyncGenerator<{ rows: Record<string, unknown>[]; classes: string[] }> {
  try {
    const { parquetMetadataAsync, parquetReadObjects } = await import('hyparquet');
    const { compressors } = await import('hyparquet-compressors');
    const metadata = await parquetMetadataAsync(buffer);
    const classes = classNames(metadata);
    const count = Number(metadata.num_rows);
    for (let rowStart = 0; rowStart < count; rowStart += ROWS) {
      const rowEnd = Math.min(rowStart + ROWS, count);
      // Texts are told apart below: decoded as UTF-8, image bytes would be damaged.
      const options = { file: buffer, metadata, compressors, rowStart, rowEnd, utf8: false };
      const rows = await parquetReadObjects(options);
      if (rows.length === 0) throw new UserError(`it says ${count} rows and has ${rowStart}`, { where: file });
      yield { rows: rows.map((row) => plain(row) as Record<string, unknown>), classes };
    }
  } catch (error) {
    if (error instanceof UserError) throw error;
    throw new UserError(`damaged or unreadable parquet: ${messageOf(error)}`, { where: file });
  }
}

/** Whole numbers instead of BigInt, and lists without null at their end. */
function plain(value: unknown): unknown {
  if (typeof value === 'bigint') return Number(value);
  if (Array.isArray(value)) return value.map(plain);
  if (value instanceof Uint8Array || value instanceof Date || !isObject(value)) return value;
  return Object.fromEntries(Object.entries(value).map(([key, each]) => [key, plain(each)]));
}

/** Names of the categories of `objects`, as Hugging Face writes them into the file's metadata. */
function classNames({ key_value_metadata: pairs }: FileMetaData): string[] {
  const text = pairs?.find(({ key }) => key === 'huggingface')?.value;
  if (text === undefined) return [];
  const find = (value: unknown): string[] | undefined => {
    if (Array.isArray(value)) return value.map(find).find((each) => each !== undefined);
    if (!isObject(value)) return undefined;
    if (value['_type'] === 'ClassLabel' && Array.isArray(value['names'])) return value['names'].map(String);
    return Object.values(value)
      .map(find)
      .find((each) => each !== undefined);
  };
  try {
    return find(JSON.parse(text)) ?? [];
  } catch {
    return [];
  }
}
