/** YAML as configurations are written: trees of keys and values, whatever stands in the file. */
import { isMap, isNode, isScalar, isSeq, LineCounter, parseDocument, parse, visit, type Document } from 'yaml';
import { fileError, hasCode, messageOf, missingFile, UserError } from '../errors.ts';
import { readText as readRegular } from '../regular.ts';

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

/** Sets, dates and bytes, which tags of older YAML stand for, are no values of ours: what is tagged is read as it is written. */
const YAML = { logLevel: 'error', resolveKnownTags: false } as const;

/** @throws UserError where a value holds itself, by an alias within its own anchor, or what no name of a file or of a key holds */
function requireTree(value: unknown, where: string): void {
  const [around, done] = [new Set<object>(), new Set<object>()];
  const walk = (at: unknown): void => {
    if (typeof at === 'string' && at.includes('\0')) throw new UserError('a text holds the character NUL', { where });
    if (typeof at !== 'object' || at === null || done.has(at)) return;
    if (around.has(at)) throw new UserError('a value holds itself: an alias within its own anchor', { where });
    around.add(at);
    for (const [key, each] of Object.entries(at)) {
      if (key === '__proto__') throw new UserError('unknown key __proto__', { where });
      walk(each);
    }
    around.delete(at);
    done.add(at);
  };
  walk(value);
}

/** Where a key stands that its map has already: the parser's own check compares each with each. */
function repeatedKey(document: Document): number | undefined {
  let found: number | undefined;
  visit(document, {
    Map: (_, { items }) => {
      const seen = new Set<unknown>();
      for (const { key } of items) {
        if (!isScalar(key)) continue;
        if (!seen.has(key.value)) seen.add(key.value);
        else return ((found = key.range?.[0] ?? 0), visit.BREAK);
      }
      return undefined;
    },
  });
  return found;
}

/** A YAML file of keys and values. @throws UserError that names the line */
export function readYaml(file: string, text = readText(file)): { document: Document; lines: LineCounter } {
  const lines = new LineCounter();
  requireFlat(text, file);
  const document = parseDocument(text, { lineCounter: lines, uniqueKeys: false, ...YAML });
  const [broken] = document.errors;
  if (broken) {
    const reason = broken.message
      .split('\n')[0]!
      .replace(/ at line \d+, column \d+:?$/, '')
      .replace(/^Maximum call stack.*/, 'values are nested too deep');
    throw new UserError(reason, { where: `${file}:${lines.linePos(broken.pos[0]).line}` });
  }
  const twice = repeatedKey(document);
  if (twice) throw new UserError('Map keys must be unique', { where: `${file}:${lines.linePos(twice).line}` });
  document.contents ??= document.createNode({}) as never;
  if (!isMap(document.contents)) throw new UserError('must hold keys and values', { where: `${file}:1` });
  let values: unknown;
  try {
    values = document.toJS();
  } catch (error) {
    // Aliases of nothing, and of too much.
    throw new UserError(messageOf(error), { where: file });
  }
  requireTree(values, file);
  return { document, lines };
}

/** The value of a text. @throws UserError where it has none */
export function parseValue(text: string, where: string): unknown {
  let value: unknown;
  try {
    requireFlat(text, where.slice(0, 100));
    value = parse(text, YAML);
  } catch (error) {
    throw error instanceof UserError ? error : new UserError(messageOf(error).split('\n')[0]!, { where });
  }
  requireTree(value, where);
  return value;
}

export function readText(file: string): string {
  try {
    return readRegular(file);
  } catch (error) {
    throw hasCode(error, 'ENOENT') ? missingFile(file) : fileError(error, { where: file });
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
