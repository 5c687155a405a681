/** The JSON files of a Hugging Face model directory. */
import { createHash } from 'node:crypto';
import { readdirSync, statSync } from 'node:fs';
import path from 'node:path';
import type { z } from 'zod';
import { fileError, foreignPath, hasCode, messageOf, missingFile, UserError } from '../errors.ts';
import { readBytes, readText } from '../regular.ts';

/** @throws UserError unless `directory` is one */
export function requireDirectory(directory: string): void {
  const stat = statSync(directory, { throwIfNoEntry: false });
  if (stat?.isDirectory()) return;
  if (!stat && foreignPath(directory)) throw missingFile(directory, 'no such directory');
  throw new UserError(stat ? 'is not a directory' : 'no such directory', {
    where: directory,
    remedy: 'A model is a directory in the Hugging Face layout: config.json, tokenizer.json, *.safetensors.',
  });
}

/** Text of a file, undefined where there is none. */
export function readOptional(directory: string, name: string): string | undefined {
  try {
    return readText(path.join(directory, name));
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return undefined;
    throw fileError(error, { where: path.join(directory, name) });
  }
}

/** A JSON file through a schema, undefined where there is none. */
export function readJson<Schema extends z.ZodType>(
  directory: string,
  name: string,
  schema: Schema,
): z.output<Schema> | undefined {
  const text = readOptional(directory, name);
  if (text === undefined) return undefined;
  const where = path.join(directory, name);
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new UserError(`malformed JSON: ${messageOf(error).replaceAll('\n', ' ')}`, { where });
  }
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  throw new UserError(`${issue!.path.join('.')}: ${issue!.message}`, { where });
}

/** @throws UserError where the file is missing */
export function requireJson<Schema extends z.ZodType>(
  directory: string,
  name: string,
  schema: Schema,
): z.output<Schema> {
  requireDirectory(directory);
  const value = readJson(directory, name, schema);
  if (value === undefined) {
    throw new UserError(`no ${name}`, {
      where: directory,
      remedy: 'The directory must hold a whole checkpoint in the Hugging Face layout.',
    });
  }
  return value;
}

/** Stands for all files of a checkpoint that say how a prompt is made: equal where they hold the same. */
export function promptPrint(directory: string): string {
  const hash = createHash('sha256');
  for (const name of readdirSync(directory).sort()) {
    if (!/\.(?:json|jinja|txt)$/.test(name) || name.endsWith('.index.json')) continue;
    hash.update(`${name}\0`).update(readBytes(path.join(directory, name)));
  }
  return hash.digest('hex');
}
