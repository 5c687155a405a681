/** Files and folders that a configuration names: absolute where it is read, beside its own folder where it is written. */
import path from 'node:path';
import { isAlias, isMap, isNode, isScalar, isSeq, type Document } from 'yaml';
import { dataHubName } from '../data/hub.ts';
import { isHubId } from '../hub/id.ts';
import { isStored, parseAddress } from '../store/address.ts';
import type { KeyFacts } from './facts.ts';
import { LEAVES } from './keys.ts';
import { shareOf } from './share.ts';

/**
 * A path, or a list of them or of `{file}`, which is relative to `base`. A model or data set may be named as on the hub, a template
 * be a text.
 * @throws UserError for an output in a store of another kind than S3
 */
export function absolute(kind: NonNullable<KeyFacts['path']>, value: unknown, base: string): unknown {
  if (Array.isArray(value)) return value.map((each: unknown) => absolute(kind, each, base));
  if (isEntry(value)) return { ...value, file: absolute(kind, value.file, base) };
  if (typeof value !== 'string' || (kind === 'template' && isTemplate(value))) return value;
  if (kind === 'data' && shareOf(value) !== undefined) return value;
  // No store but S3 is known: gs:// would become a folder here.
  if (kind === 'output' && /^[\w+.-]+:\/\//.test(value)) parseAddress(value);
  if (kind === 'output' && isStored(value)) return value;
  const resolved = path.resolve(base, value);
  const isRemote =
    (kind === 'model' && isHubId(value, resolved)) || (kind === 'data' && dataHubName(value, resolved) !== undefined);
  return isRemote ? value : resolved;
}

/** A prompt given as text rather than as a file. */
export function isTemplate(prompt: string): boolean {
  return prompt.includes('{');
}

const isEntry = (value: unknown): value is { readonly file: unknown } =>
  typeof value === 'object' && value !== null && 'file' in value;

/** The other way, for what lies beside `base`: what they share is more than the root. */
export function relative(kind: NonNullable<KeyFacts['path']>, value: unknown, base: string): unknown {
  if (Array.isArray(value)) return value.map((each: unknown) => relative(kind, each, base));
  if (isEntry(value)) return { ...value, file: relative(kind, value.file, base) };
  if (typeof value !== 'string' || kind === 'template' || !path.isAbsolute(value)) return value;
  const shared = value.split(path.sep)[1] === base.split(path.sep)[1];
  // `./` tells it from a model of the hub.
  return shared ? path.relative(base, value).replace(/^(?!\.\.?(\/|$))/, './') : value;
}

export const absolutePaths = (document: Document, base: string): void =>
  changePaths(document, (kind, value) => absolute(kind, value, base));

export function changePaths(
  document: Document,
  change: (kind: NonNullable<KeyFacts['path']>, value: unknown) => unknown,
): void {
  for (const { key, path: kind } of LEAVES) {
    const keys = key.split('.');
    if (kind === undefined || !document.hasIn(keys)) continue;
    const value = document.getIn(keys);
    if (isSeq(value) && !hasAlias(value)) {
      // In their places, so that messages can name the lines.
      for (const item of value.items) {
        if (isScalar(item)) item.value = change(kind, item.value);
        else if (isMap(item) && item.has('file')) item.set('file', change(kind, item.get('file')));
      }
    } else document.setIn(keys, change(kind, isNode(value) ? value.toJS(document) : value));
  }
}

function hasAlias(node: unknown): boolean {
  if (isSeq(node)) return node.items.some(hasAlias);
  return isMap(node) ? node.items.some(({ value }) => hasAlias(value)) : isAlias(node);
}
