/** Guesses at what somebody meant by a key, or a value, that there is not. */
import type { z } from 'zod';
import { editDistance, nearest } from '../errors.ts';
import { keysAt } from './facts.ts';
import { LEAVES } from './keys.ts';
import { written } from './paradigm.ts';
import { hintText, peerHint, peerValue, plainName } from './peers.ts';
import { configSchema } from './schema.ts';

/** Keys by the last part of their name; those that share it are left out, and short ones, which say little. */
const BY_LAST_PART = new Map(
  [...Map.groupBy(LEAVES, ({ key }) => plainName(key.slice(key.lastIndexOf('.') + 1)))].flatMap(([name, leaves]) =>
    leaves.length === 1 && name.length > 4 ? [[name, leaves[0]!.key] as const] : [],
  ),
);

/** The key that was meant by one which stands where it does not belong, or which another trainer calls so. */
function elsewhere(path: readonly string[]): string | undefined {
  const hint = peerHint(path);
  if (hint) return hintText(hint);
  const key = BY_LAST_PART.get(plainName(path.at(-1)!));
  return key && `Did you mean ${key}?`;
}

/**
 * The key that was meant by an unknown one: a slip of the pen, another trainer's name, ours of another place, something
 * near.
 * @param schema of the object that has it, or of one around that
 * @param inner path of the object in the schema
 * @param prefix path of the schema in the file
 * @param value what the key was given
 */
export function suggestKey(
  key: string,
  value: unknown,
  schema: z.ZodType,
  inner: readonly PropertyKey[],
  prefix: readonly string[],
): string | undefined {
  const at = [...prefix, ...inner.map(String)];
  const sibling = nearest(key, keysAt(schema, inner));
  const meant = sibling && `Did you mean ${[...at, sibling].join('.')}?`;
  if (sibling && editDistance(plainName(key), plainName(sibling)) <= 1) return meant;
  if (schema === configSchema) {
    const below = written({ [key]: value }).flatMap((path) => {
      const found = elsewhere([...at, ...path]);
      return found === undefined ? [] : [path.length > 1 ? `${path.slice(1).join('.')}: ${found}` : found];
    });
    if (below.length > 0) return below.join(' ');
  }
  return meant;
}

/** The value that was meant by one that is none of a key's choices. */
export function suggestValue(key: string, value: unknown, choices: readonly unknown[]): string | undefined {
  if (typeof value !== 'string') return undefined;
  const peer = peerValue(key, value);
  if (peer !== undefined) return peer;
  const names = choices.map(String);
  const meant = names.find((each) => plainName(each) === plainName(value)) ?? nearest(value, names);
  return meant && `Did you mean ${meant}?`;
}
