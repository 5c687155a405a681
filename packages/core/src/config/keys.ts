/** The keys of the configuration with their facts: who uses them, what a change does, which hold paths. */
import type { z } from 'zod';
import type { ParadigmDefinition } from '../schedule/definitions.ts';
import { definitionOf, paradigmNames } from '../schedule/registry.ts';
import { everyParadigm, fieldsOf, ownFacts, type KeyFacts, type Users } from './facts.ts';
import { configSchema } from './schema.ts';

/** A key that has no keys of its own. */
export interface Leaf extends KeyFacts {
  /** Dotted, such as `rollout.group`. */
  readonly key: string;
  readonly users: Users;
  readonly effect: NonNullable<KeyFacts['effect']>;
  readonly schema: z.ZodType;
}

type Around = Pick<Leaf, 'users' | 'effect'>;

function leavesOf(schema: z.ZodType, prefix: string, around: Around): Leaf[] {
  return Object.entries(fieldsOf(schema)).flatMap(([name, field]): Leaf[] => {
    const { meaning = '', ...own } = ownFacts(field);
    const facts = { meaning, ...around, ...own };
    const key = prefix + name;
    const below = leavesOf(field, `${key}.`, { users: facts.users, effect: facts.effect });
    return below.length > 0 ? below : [{ ...facts, key, schema: field }];
  });
}

/** All of them, in the order of the schema. */
export const LEAVES: readonly Leaf[] = leavesOf(configSchema, '', { users: everyParadigm, effect: 'course' });

const byKey = new Map(LEAVES.map((leaf) => [leaf.key, leaf]));

/** The key itself, or the one whose value it is a part of; undefined for a section, and for what is no key. */
export function leafOf(key: string): Leaf | undefined {
  for (let at = key; at !== ''; at = at.slice(0, Math.max(0, at.lastIndexOf('.')))) {
    const found = byKey.get(at);
    if (found) return found;
  }
  return undefined;
}

const isBelow = (key: string, section: string): boolean => key === section || key.startsWith(`${section}.`);

const uses = (paradigm: ParadigmDefinition, { key, users }: Leaf): boolean =>
  users(paradigm) || (paradigm.keys ?? []).some((each) => isBelow(key, each));

/** The keys that are this one, have it for a part of their value, or are in this section. */
function leavesAt(key: string): readonly Leaf[] {
  const found = leafOf(key);
  return found ? [found] : LEAVES.filter((leaf) => isBelow(leaf.key, key));
}

/** The paradigms that use a key, such as `rollout.group`, or a key of a section; what is no key is left to all. */
export const keyUsers = (key: string): string[] => paradigmNames().filter((each) => usesKey(each, key));

export function usesKey(paradigm: string, key: string): boolean {
  const [leaves, definition] = [leavesAt(key), definitionOf({ paradigm })];
  return leaves.length === 0 || leaves.some((leaf) => uses(definition, leaf));
}

/** What a paradigm of a plugin names that is no key, or sets and does not use. */
export function paradigmKeyFault(paradigm: ParadigmDefinition): string | undefined {
  const { keys = [], defaults = {} } = paradigm;
  const unknown = [...keys, ...Object.keys(defaults)].find((key) => leavesAt(key).length === 0);
  if (unknown !== undefined) return `there is no key ${unknown}`;
  const unused = Object.keys(defaults).find((key) => !leavesAt(key).some((leaf) => uses(paradigm, leaf)));
  return unused === undefined ? undefined : `it sets ${unused}, and does not use it: name it in keys`;
}

/** The value of a dotted key; undefined where there is none. */
export const valueAt = (config: object, key: string): unknown =>
  key.split('.').reduce<unknown>((at, part) => (at as Record<string, unknown> | undefined)?.[part], config);
