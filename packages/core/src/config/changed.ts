/** What tells two configurations apart. */
import { createHash } from 'node:crypto';
import type { Effect } from './facts.ts';
import { leafOf } from './keys.ts';
import type { Config } from './schema.ts';

/** sha256 of the configuration with sorted keys. */
export function configHash(config: Config): string {
  return createHash('sha256').update(canonical(config)).digest('hex');
}

/** A dotted key with another value. */
export interface ChangedKey {
  readonly key: string;
  readonly effect: Effect;
  /** As JSON; undefined where it is not there. */
  readonly before: string | undefined;
  readonly after: string | undefined;
}

/** Keys whose values differ. Files and folders do not count by their names: they may have been moved. */
export function changedKeys(before: Config, after: Config): ChangedKey[] {
  const [a, b] = [leaves(before), leaves(after)];
  return [...new Set([...a.keys(), ...b.keys()])].sort().flatMap((key): ChangedKey[] => {
    const leaf = leafOf(key);
    const [was, is] = [a.get(key), b.get(key)];
    const isPath = (value: string | undefined): boolean => value === undefined || value.startsWith('"/');
    const placeless = (value: string | undefined): string | undefined =>
      value?.replaceAll(/"\/(?:[^"\\]|\\.)*"/g, '"/"');
    const isPlace = leaf?.path !== undefined && leaf.path !== 'template';
    const isMoved = isPlace && ((isPath(was) && isPath(is)) || placeless(was) === placeless(is));
    if (was === is || isMoved || key.startsWith('plugins')) return [];
    return [{ key, effect: leaf?.effect ?? 'course', before: was, after: is }];
  });
}

function canonical(value: unknown): string {
  return JSON.stringify(value, (_, inner: unknown) =>
    typeof inner === 'object' && inner !== null && !Array.isArray(inner)
      ? Object.fromEntries(Object.entries(inner).sort(([a], [b]) => (a < b ? -1 : 1)))
      : inner,
  );
}

/** Every leaf (an array is one) as dotted key and canonical JSON. */
function leaves(value: object, prefix = ''): Map<string, string> {
  return new Map(
    Object.entries(value).flatMap(([key, inner]: [string, unknown]) => {
      if (inner === undefined) return [];
      if (typeof inner === 'object' && inner !== null && !Array.isArray(inner))
        return [...leaves(inner, `${prefix}${key}.`)];
      return [[prefix + key, canonical(inner)] as [string, string]];
    }),
  );
}
