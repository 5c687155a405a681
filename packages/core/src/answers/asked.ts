/** What is to be predicted: pictures, the pictures of a folder, or the rows of a JSONL file, whose labels are not looked at. */
import { readdirSync } from 'node:fs';
import path from 'node:path';
import { Territory } from '../data/inside.ts';
import { readLines } from '../data/lines.ts';
import { sampleOf } from '../data/parse.ts';
import { fileError, messageOf, UserError } from '../errors.ts';

export interface AskedRow {
  /** Of rows of a file. */
  readonly id?: string;
  /** As it was named: by the user, or by the row. */
  readonly image: string;
  readonly files: readonly string[];
  readonly problem: string;
  readonly task?: string;
  readonly prompt?: string;
}

export interface AskedSource {
  readonly images?: readonly string[] | undefined;
  /** Folder. */
  readonly folder?: string | undefined;
  /** JSONL file. */
  readonly data?: string | undefined;
  /** What is asked of pictures, and of rows that ask nothing. */
  readonly problem?: string | undefined;
  /** Images of rows may lie outside of the folder of the file. */
  readonly allowOutside?: boolean | undefined;
}

const PICTURE = /\.(png|jpe?g|webp|gif|tiff?|avif)$/i;
const MAX_LINE = 64 << 20;
const LISTED = 20;

/** @throws UserError that names what is missing, or the lines that cannot be used */
export async function askedRows({
  images = [],
  folder,
  data,
  problem,
  allowOutside,
}: AskedSource): Promise<AskedRow[]> {
  if (data !== undefined) return await rowsOf(data, problem, allowOutside ?? false);
  if (problem === undefined || problem.trim() === '') {
    throw new UserError('what is to be asked of the pictures?', { remedy: 'Name it: --problem "the red car"' });
  }
  const files = folder === undefined ? images : picturesOf(folder);
  return files.map((image) => ({ image, files: [path.resolve(image)], problem }));
}

function picturesOf(folder: string): string[] {
  try {
    const names = readdirSync(folder, { recursive: true, encoding: 'utf8' })
      .filter((name) => PICTURE.test(name) && !name.split(path.sep).some((part) => part.startsWith('.')))
      .sort();
    if (names.length > 0) return names.map((name) => path.join(folder, name));
  } catch (error) {
    throw fileError(error, {
      where: folder,
      remedy: '--images names a folder with pictures; --image names one picture.',
    });
  }
  throw new UserError('holds no pictures', { where: folder, remedy: 'PNG, JPEG, WebP, GIF, TIFF and AVIF are read.' });
}

async function rowsOf(data: string, problem: string | undefined, allowOutside: boolean): Promise<AskedRow[]> {
  const territory = allowOutside ? undefined : new Territory([path.dirname(path.resolve(data))]);
  const rows: AskedRow[] = [];
  const faults: string[] = [];
  for await (const { number, text, fault } of readLines(data, MAX_LINE)) {
    if (text?.trim() === '') continue;
    const row = text === undefined ? (fault ?? '') : rowOf(text, { file: data, line: number }, problem);
    const outside = typeof row === 'string' ? undefined : row.files.find((file) => territory?.has(file) === false);
    if (typeof row === 'string') faults.push(`${data}:${number}: ${row}`);
    else if (outside !== undefined) faults.push(`${data}:${number}: ${outside} lies outside of the folder of the data`);
    else rows.push(row);
  }
  if (faults.length > 0) {
    const more = faults.length > LISTED ? [`... and ${faults.length - LISTED} more`] : [];
    throw new UserError([...faults.slice(0, LISTED), ...more].join('\n'), {
      remedy: 'A row has "image" and "problem"; images outside of the folder need --allow-outside.',
    });
  }
  if (rows.length === 0) throw new UserError('holds no rows', { where: data });
  return rows;
}

function rowOf(text: string, source: { file: string; line: number }, problem: string | undefined): AskedRow | string {
  let row: unknown;
  try {
    row = JSON.parse(text);
  } catch (error) {
    return `malformed JSON: ${messageOf(error)}`;
  }
  if (typeof row !== 'object' || row === null || Array.isArray(row)) return 'not a JSON object';
  // Labels are not looked at.
  const sample = sampleOf({ ...(problem !== undefined && { problem }), ...row, solution: '[]' }, source, '');
  if (typeof sample === 'string') return sample;
  const { id, images: files, task, extra } = sample;
  const { image } = row as { image?: string | readonly string[] };
  const { prompt } = extra;
  return {
    ...{ id, image: typeof image === 'string' ? image : (image?.[0] ?? ''), files, problem: sample.problem },
    ...(task !== '' && { task }),
    ...(typeof prompt === 'string' && { prompt }),
  };
}
