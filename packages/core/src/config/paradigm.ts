/** What a paradigm makes of a configuration: keys that it has no use for are refused, and its own defaults fill in. */
import { keyUsers, paradigmDefaults, usesKey } from '../schedule/keys.ts';
import { PARADIGMS, type Paradigm } from '../schedule/paradigm.ts';

type Values = Readonly<Record<string, unknown>>;

const isValues = (value: unknown): value is Values =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

const paradigmOf = ({ paradigm = 'visurf' }: Values): Paradigm | undefined =>
  PARADIGMS.find((each) => each === paradigm);

/** Paths of everything that is written in a configuration. */
const written = (values: Values, path: readonly string[] = []): (readonly string[])[] =>
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

/** The values, and under them the paradigm's defaults. */
export function withParadigmDefaults(values: Values): Values {
  const paradigm = paradigmOf(values);
  return (paradigm && merge(values, (paradigmDefaults[paradigm] ?? {}) as Values)) ?? values;
}

function merge(values: Values, defaults: Values): Values {
  const filled = Object.entries(defaults).map(([key, value]) => {
    const own = values[key];
    return [key, isValues(own) && isValues(value) ? merge(own, value) : (own ?? value)] as const;
  });
  return { ...values, ...Object.fromEntries(filled) };
}

/** A resolved configuration without what its paradigm has no use for. */
export function onlyUsed(config: { readonly paradigm: Paradigm }): object {
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
