/** Files of a benchmark's folder, and what to say where one is missing. */
import { existsSync, readdirSync } from 'node:fs';
import path from 'node:path';
import type { z } from 'zod';
import { fileError, messageOf, UserError } from '../errors.ts';
import { readBytes as readRegular } from '../regular.ts';

/** What a user must download, for messages. */
export interface Source {
  readonly name: string;
  /** What to download. */
  readonly download: string;
}

/**
 * The first that exists of several places in a folder.
 * @throws UserError that says what to download, and where it goes
 */
export function requirePlace(folder: string, places: readonly string[], { name, download }: Source): string {
  if (!existsSync(folder))
    throw new UserError('no such folder', { where: folder, remedy: `--data is the folder of ${name}: ${download}` });
  const found = places.map((place) => path.join(folder, place)).find((place) => existsSync(place));
  if (found !== undefined) return path.resolve(found);
  throw new UserError(`${places[0]!} is missing: the folder of ${name} is not complete`, {
    where: folder,
    remedy: `Download ${download}, so that it is ${path.join(folder, places[0]!)}.`,
  });
}

/**
 * Names of the files in a folder that end in `end`, sorted.
 * @throws UserError where there are none
 */
export function namesIn(folder: string, end: string, source: Source): string[] {
  try {
    const names = readdirSync(folder).filter((name) => name.endsWith(end));
    if (names.length === 0) requirePlace(folder, [`NAME${end}`], source);
    return names.sort();
  } catch (error) {
    throw fileError(error, { where: folder, remedy: `Download ${source.download}.` });
  }
}

/** @throws UserError where the file cannot be read, or is not what its authors publish */
export function readAnnotations<Schema extends z.ZodType>(file: string, schema: Schema): z.output<Schema> {
  return checked(parseJson(readText(file), file), schema, file);
}

/** @throws UserError where it cannot be read */
export function readBytes(file: string): Buffer {
  try {
    return readRegular(file);
  } catch (error) {
    throw fileError(error, { where: file });
  }
}

/** @throws UserError where it cannot be read */
export const readText = (file: string): string => readBytes(file).toString();

/** @throws UserError */
export function parseJson(text: string, file: string): unknown {
  try {
    return JSON.parse(text.replace(/^\uFEFF/, ''));
  } catch (error) {
    throw new UserError(`is not JSON: ${messageOf(error)}`, {
      where: file,
      remedy: 'Download it again: it may be cut off.',
    });
  }
}

/** @throws UserError that names the first place that is not as it should be */
export function checked<Schema extends z.ZodType>(value: unknown, schema: Schema, file: string): z.output<Schema> {
  const { success, data, error } = schema.safeParse(value);
  if (success) return data;
  const [issue] = error.issues;
  throw new UserError(`${issue!.path.join('.')}: ${issue!.message}`, {
    where: file,
    remedy: 'The file is not as its authors publish it: download it again.',
  });
}

/** @throws UserError for a path that leads out of the folder */
export function inside(folder: string, place: string, file: string): string {
  const found = path.resolve(folder, place);
  if (found.startsWith(path.resolve(folder) + path.sep)) return found;
  throw new UserError(`${JSON.stringify(place)} leads out of the folder of the benchmark`, { where: file });
}
