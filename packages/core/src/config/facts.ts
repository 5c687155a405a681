/**
 * Facts of a key of the configuration beside its type and its default: said once, where the schema has the key, and
 * asked for everywhere else (keys.ts).
 */
import { z } from 'zod';
import type { Paradigm, ParadigmDefinition } from '../schedule/definitions.ts';

/**
 * The effect of another value on a run that goes on: its steps stay the numbers they would have been (`harmless`), it
 * takes another `course`, or what it saved does not fit any more (`breaks`).
 */
export type Effect = 'harmless' | 'course' | 'breaks';

/** Whether a paradigm uses a key. */
export type Users = (paradigm: ParadigmDefinition) => boolean;

export interface KeyFacts {
  /** A line of Markdown. */
  readonly meaning: string;
  /** Paradigms that use the key; unset: those of the section that it is in. */
  readonly users?: Users;
  /** Paradigms whose published form has another default. */
  readonly defaults?: Readonly<Partial<Record<Paradigm, unknown>>>;
  /** Words for what holds where nothing is said, of a key without a default. */
  readonly unset?: string;
  /** The value names a file or folder, a `model` or `data`, which may be one of the hub, a file that holds a `template`, or an
   * `output`, which may be in an object store. */
  readonly path?: 'file' | 'model' | 'data' | 'template' | 'output';
  /** Unset: that of the section, else `course`. */
  readonly effect?: Effect;
  /** The value counts steps, and keeps its share of a run that has more or fewer of them. */
  readonly scales?: true;
}

/** Facts that all keys of a section share. */
export type SectionFacts = Pick<KeyFacts, 'users' | 'effect'>;

export const everyParadigm: Users = () => true;

const registry = z.registry<Partial<KeyFacts>>();

/** A key. The schema may be that of other keys as well. */
export function key<Schema extends z.ZodType>(
  meaning: string,
  schema: Schema,
  facts: Omit<KeyFacts, 'meaning'> = {},
): Schema {
  const own = schema.clone();
  registry.add(own, { meaning, ...facts });
  return own;
}

/** Keys that belong together. */
export function section<Shape extends z.core.$ZodLooseShape>(shape: Shape, facts: SectionFacts = {}) {
  return z.strictObject(shape).register(registry, facts);
}

/** Facts of a schema or of what it wraps, without those of the sections around it. */
export const ownFacts = (schema: z.ZodType): Partial<KeyFacts> =>
  registry.get(schema) ?? registry.get(unwrapped(schema)) ?? {};

/** A schema under any number of wrappers (default, prefault, optional). */
function unwrapped(schema: z.ZodType): z.ZodType {
  const isWrapper =
    schema instanceof z.ZodDefault || schema instanceof z.ZodPrefault || schema instanceof z.ZodOptional;
  return isWrapper ? unwrapped(schema.unwrap() as z.ZodType) : schema;
}

/** Fields of an object schema, wrapped or not; of any other none. */
export function fieldsOf(schema: z.ZodType | undefined): Readonly<Record<string, z.ZodType>> {
  const inner = schema && unwrapped(schema);
  return inner instanceof z.ZodObject ? inner.shape : {};
}

/** Keys of the object at a path, for suggestions; empty where there is no object with known keys. */
export function keysAt(schema: z.ZodType, path: readonly PropertyKey[]): readonly string[] {
  let current: z.ZodType | undefined = schema;
  for (const part of path) current = fieldsOf(current)[String(part)];
  return Object.keys(fieldsOf(current));
}
