/** The keys of the configuration with their facts: who uses them, what a change does, which hold paths. */
import type { z } from 'zod';
import { PARADIGMS, type Paradigm } from '../schedule/paradigm.ts';
import { fieldsOf, ownFacts, type KeyFacts } from './facts.ts';
import { configSchema } from './schema.ts';

/** A key that has no keys of its own. */
export interface Leaf extends KeyFacts {
  /** Dotted, such as `rollout.group`. */
  readonly key: string;
  readonly users: readonly Paradigm[];
  readonly effect: NonNullable<KeyFacts['effect']>;
  readonly schema: z.ZodType;
}

type Around = Pick<Leaf, 'users' | 'effect'>;

function leavesOf(schema: z.ZodType, prefix: string, around: Around): Leaf[] {
  return Object.entries(fieldsOf(schema)).flatMap(([name, field]): Leaf[] => {
    const { meaning = '', ...own } = ownFacts(field);
    const facts = { meaning, ...around, ...own };
    const users = PARADIGMS.filter((each) => facts.users.includes(each));
    const key = prefix + name;
    const below = leavesOf(field, `${key}.`, { users, effect: facts.effect });
    return below.length > 0 ? below : [{ ...facts, users, key, schema: field }];
  });
}

/** All of them, in the order of the schema. */
export const LEAVES: readonly Leaf[] = leavesOf(configSchema, '', { users: PARADIGMS, effect: 'course' });

const byKey = new Map(LEAVES.map((leaf) => [leaf.key, leaf]));

/** The key itself, or the one whose value it is a part of; undefined for a section, and for what is no key. */
export function leafOf(key: string): Leaf | undefined {
  for (let at = key; at !== ''; at = at.slice(0, Math.max(0, at.lastIndexOf('.')))) {
    const found = byKey.get(at);
    if (found) return found;
  }
  return undefined;
}

/** The paradigms that use a key, such as `rollout.group`, or a key of a section. */
export function keyUsers(key: string): readonly Paradigm[] {
  const found = leafOf(key);
  if (found) return found.users;
  const below = LEAVES.filter((leaf) => leaf.key.startsWith(`${key}.`));
  return below.length === 0 ? PARADIGMS : PARADIGMS.filter((each) => below.some(({ users }) => users.includes(each)));
}

export const usesKey = (paradigm: Paradigm, key: string): boolean => keyUsers(key).includes(paradigm);

/** The value of a dotted key; undefined where there is none. */
export const valueAt = (config: object, key: string): unknown =>
  key.split('.').reduce<unknown>((at, part) => (at as Record<string, unknown> | undefined)?.[part], config);
