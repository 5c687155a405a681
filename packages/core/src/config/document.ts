/** A YAML file of a configuration, and what is written over it: where every key stands, for messages. */
import { isMap, isNode, isSeq, LineCounter, parse, parseDocument, type Document } from 'yaml';
import { fileError, hasCode, messageOf, missingFile, UserError } from '../errors.ts';
import { readText as readRegular } from '../regular.ts';
import { leafOf } from './keys.ts';
import { absolute } from './paths.ts';

/** Brackets within brackets: no configuration has so many, and parsers take long for them or run out of stack. */
const DEEPEST = 200;

/** @throws UserError where values are nested beyond all measure */
function requireFlat(text: string, where: string): void {
  let depth = 0;
  for (const { 0: bracket } of text.matchAll(/[[\]{}]/g)) {
    depth = Math.max(0, depth + (bracket === '[' || bracket === '{' ? 1 : -1));
    if (depth > DEEPEST) throw new UserError(`values are nested more than ${DEEPEST} deep`, { where });
  }
}

/** A YAML file of keys and values. @throws UserError that names the line */
export function readYaml(file: string, text = readText(file)): { document: Document; lines: LineCounter } {
  const lines = new LineCounter();
  requireFlat(text, file);
  const document = parseDocument(text, { lineCounter: lines, logLevel: 'error' });
  const [broken] = document.errors;
  if (broken) {
    const reason = broken.message.split('\n')[0]!.replace(/ at line \d+, column \d+:?$/, '');
    throw new UserError(reason, { where: `${file}:${lines.linePos(broken.pos[0]).line}` });
  }
  document.contents ??= document.createNode({}) as never;
  if (!isMap(document.contents)) throw new UserError('must hold keys and values', { where: `${file}:1` });
  try {
    document.toJS();
  } catch (error) {
    // Aliases of nothing, and of too much.
    throw new UserError(messageOf(error), { where: file });
  }
  return { document, lines };
}

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
  const isNew = !document.hasIn(keys.slice(0, 1));
  let value: unknown;
  try {
    requireFlat(text, where.slice(0, 100));
    value = parse(text.slice(split + 1), { logLevel: 'error' });
  } catch (error) {
    throw new UserError(messageOf(error).split('\n')[0]!, { where });
  }
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

/** Line of the deepest written key on the way to a path, from 1. */
export function lineOf(document: Document, lines: LineCounter, keys: readonly PropertyKey[]): number {
  let node: unknown = document.contents;
  let offset = document.contents?.range?.[0] ?? 0;
  for (const key of keys) {
    if (isSeq(node) && isNode(node.items[Number(key)])) {
      node = node.items[Number(key)];
      offset = (node as { range?: number[] }).range?.[0] ?? offset;
      continue;
    }
    if (!isMap(node)) break;
    const pair = node.items.find((item) => String(item.key) === String(key));
    if (!pair) break;
    offset = (pair.key as { range?: number[] }).range?.[0] ?? offset;
    node = pair.value;
  }
  return lines.linePos(offset).line;
}

export function readText(file: string): string {
  try {
    return readRegular(file);
  } catch (error) {
    throw hasCode(error, 'ENOENT') ? missingFile(file) : fileError(error, { where: file });
  }
}
