/** A paradigm's part in a configuration: keys that it has no use for are refused, and its own defaults fill in. */
import type { Paradigm } from '../schedule/definitions.ts';
import { definitionOf, paradigmNamed } from '../schedule/registry.ts';
import { keyUsers, LEAVES, usesKey } from './keys.ts';

export type Values = Readonly<Record<string, unknown>>;

const isValues = (value: unknown): value is Values =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** The name of the paradigm, where it is known. */
export const paradigmOf = ({ paradigm = 'visurf' }: Values): string | undefined => paradigmNamed(paradigm)?.name;

/** Paths of everything that is written in a configuration. */
export const written = (values: Values, path: readonly string[] = []): (readonly string[])[] =>
  Object.entries(values).flatMap(([key, value]) =>
    isValues(value) ? written(value, [...path, key]) : [[...path, key]],
  );

export interface UnusedKey {
  readonly path: readonly string[];
  readonly reason: string;
}

/** Keys that were written and that the paradigm does not use. */
export function unusedKeys(values: Values): UnusedKey[] {
  const paradigm = paradigmOf(values);
  if (paradigm === undefined) return [];
  return written(values).flatMap((path) => {
    const key = path.join('.');
    if (usesKey(paradigm, key)) return [];
    return [{ path, reason: `the paradigm ${paradigm} does not use ${key}; used by: ${keyUsers(key).join(', ')}` }];
  });
}

/** Dotted keys and values that make a published method of what every paradigm is made of. */
export const paradigmDefaults = (paradigm: string): [key: string, value: unknown][] => [
  ...LEAVES.flatMap(({ key, defaults = {} }): [string, unknown][] =>
    Object.hasOwn(defaults, paradigm) ? [[key, defaults[paradigm as Paradigm]]] : [],
  ),
  ...Object.entries(definitionOf({ paradigm }).defaults ?? {}),
];

/** The values, and under them the paradigm's defaults. */
export function withParadigmDefaults(values: Values): Values {
  const paradigm = paradigmOf(values);
  return paradigm === undefined ? values : withDefaults(values, paradigmDefaults(paradigm));
}

/** The values, and under them those of dotted keys that nobody wrote. */
export const withDefaults = (values: Values, defaults: readonly (readonly [key: string, value: unknown])[]): Values =>
  defaults.reduce((all, [key, value]) => withDefault(all, key.split('.'), value), values);

function withDefault(values: Values, [first = '', ...rest]: readonly string[], value: unknown): Values {
  const own = Object.hasOwn(values, first) ? values[first] : undefined;
  if (rest.length === 0) return own === undefined ? { ...values, [first]: value } : values;
  return own === undefined || isValues(own) ? { ...values, [first]: withDefault(own ?? {}, rest, value) } : values;
}

/** A resolved configuration without what its paradigm has no use for. */
export function onlyUsed(config: { readonly paradigm: string }): object {
  const keep = (values: Values, path: readonly string[]): Values =>
    Object.fromEntries(
      Object.entries(values).flatMap(([key, value]): [string, unknown][] => {
        const at = [...path, key];
        if (!isValues(value)) return usesKey(config.paradigm, at.join('.')) ? [[key, value]] : [];
        const below = keep(value, at);
        return Object.keys(below).length > 0 || Object.keys(value).length === 0 ? [[key, below]] : [];
      }),
    );
  return keep(config, []);
}
