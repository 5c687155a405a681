/**
 * What `defineTask`, `defineReward` and their kin made. The register is shared by all copies of this module in the process: a plugin
 * may import the library from an installation of its own.
 */
export type Kind = 'task' | 'reward' | 'reader' | 'paradigm';

const key = Symbol.for('visurf.defined');
const shared = globalThis as unknown as Record<symbol, WeakMap<object, Kind> | undefined>;
const register = (shared[key] ??= new WeakMap<object, Kind>());

/** Remembers what a value is, and returns it. */
export function markDefined<T extends object>(value: T, kind: Kind): T {
  register.set(value, kind);
  return value;
}

/** What a value was defined as; undefined for any other. */
export const definedAs = (value: unknown): Kind | undefined =>
  typeof value === 'object' && value !== null ? register.get(value) : undefined;
