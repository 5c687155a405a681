/** What is written over a configuration's file, `key=value`. */
import { isMap, type Document } from 'yaml';
import { UserError } from '../errors.ts';
import { leafOf } from './keys.ts';
import { absolute } from './paths.ts';
import { parseValue } from './yaml.ts';

/** A key that was written over. */
export interface Override {
  readonly path: readonly string[];
  readonly text: string;
  /** The file has nothing under the first part of the path. */
  readonly isNew: boolean;
}

/** Sets one dotted key of the document to a value written as in YAML; no value takes the key out. */
export function applyOverride(document: Document, text: string, cwd: string): Override {
  const split = text.indexOf('=');
  const keys = text.slice(0, Math.max(split, 0)).split('.');
  const where = `override ${text}`;
  if (split < 1 || keys.includes('')) {
    throw new UserError('not of the form key=value', { where, remedy: 'Example: optimizer.learningRate=1e-5' });
  }
  if (keys.includes('__proto__')) throw new UserError('unknown key __proto__', { where });
  const isNew = !document.hasIn(keys.slice(0, 1));
  const value = parseValue(text.slice(split + 1), where);
  for (let depth = 1; depth < keys.length; depth++) {
    const parent = document.getIn(keys.slice(0, depth));
    if (parent === null || parent === undefined) document.setIn(keys.slice(0, depth), document.createNode({}));
    else if (!isMap(parent)) throw new UserError(`${keys.slice(0, depth).join('.')} has no keys below it`, { where });
  }
  if (value === null) {
    if (document.hasIn(keys)) document.deleteIn(keys);
    return { path: keys, text, isNew };
  }
  const kind = leafOf(keys.join('.'))?.path;
  document.setIn(keys, kind ? absolute(kind, value, cwd) : value);
  return { path: keys, text, isNew };
}

/** @throws UserError for an alias whose anchor is gone, as where an override or an absolute path has taken its place */
export function aliased<T>(file: string, read: () => T): T {
  try {
    return read();
  } catch (error) {
    if (!(error instanceof ReferenceError)) throw error;
    throw new UserError(error.message, { where: file, remedy: 'Write the value out.', cause: error });
  }
}
