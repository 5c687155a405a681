/** What is wrong with a configuration, all of it at once, each with its place and what to do. */
import type { z } from 'zod';
import { UserError } from '../errors.ts';
import { suggestKey, suggestValue } from './suggest.ts';

/** Says where a path of keys was written. */
export type Locate = (path: readonly PropertyKey[]) => string;

export interface Mistake {
  readonly where: string;
  readonly reason: string;
  readonly remedy?: string | undefined;
}

/** Unknown keys of an object that are named, with what was meant. */
const NAMED = 100;

/** `schema` is that of the object found under `prefix`. */
export function mistakesOf(
  issues: readonly z.core.$ZodIssue[],
  schema: z.ZodType,
  prefix: string[],
  locate: Locate,
): Mistake[] {
  return issues.flatMap(ofBranch).flatMap((issue) => {
    const at = [...prefix, ...issue.path];
    if (issue.code !== 'unrecognized_keys') return [{ where: locate(at), ...describe(issue, at) }];
    const input = issue.input as Readonly<Record<string, unknown>> | undefined;
    const named = issue.keys.slice(0, NAMED).map((key): Mistake => {
      const full = [...at, key];
      const remedy = suggestKey(key, input?.[key], schema, issue.path, prefix);
      return { where: locate(full), reason: `unknown key ${full.join('.')}`, remedy };
    });
    const more = issue.keys.length - named.length;
    return more === 0 ? named : [...named, { where: locate(at), reason: `${more} more unknown keys` }];
  });
}

/** What is wrong with a value that may be of several kinds, by the kind that it comes nearest to. */
function ofBranch(issue: z.core.$ZodIssue): z.core.$ZodIssue[] {
  if (issue.code !== 'invalid_union' || issue.errors.length === 0) return [issue];
  const branches = issue.errors.map((own) => own.flatMap(ofBranch));
  const depth = ({ code, path: keys }: z.core.$ZodIssue): number => keys.length + (code === 'invalid_type' ? 0 : 1);
  const nearness = branches.map((own) => Math.max(...own.map(depth)));
  const nearest = branches[nearness.indexOf(Math.max(...nearness))]!;
  return nearest.map((own) => ({ ...own, path: [...issue.path, ...own.path] }));
}

/** One error for all mistakes. */
export function listOf(found: readonly Mistake[]): UserError {
  const [first, ...rest] = found;
  if (first && rest.length === 0) return new UserError(first.reason, first);
  const list = found.map(({ where, reason, remedy }) => `  ${where}: ${reason}${remedy ? ` (${remedy})` : ''}`);
  return new UserError(`${found.length} mistakes in the configuration:\n${list.join('\n')}`);
}

function describe(issue: z.core.$ZodIssue, at: PropertyKey[]): { reason: string; remedy: string | undefined } {
  const key = at.join('.') || 'configuration';
  if (issue.code === 'custom')
    return { reason: `${key}: ${issue.message}`, remedy: suggestValue(key, issue.input, []) };
  if (issue.code === 'invalid_type' && issue.message.endsWith('received undefined')) {
    return { reason: `missing key ${key}`, remedy: `Add it: ${key} (${issue.expected}).` };
  }
  const remedy = issue.code === 'invalid_value' ? suggestValue(key, issue.input, issue.values) : undefined;
  return { reason: `${key}: ${issue.message}`, remedy };
}

/** Adds the place in the configuration to a UserError thrown inside. */
export function located<T>(read: () => T, where: string, remedy?: string): T {
  try {
    return read();
  } catch (error) {
    if (!(error instanceof UserError)) throw error;
    throw new UserError(error.message, { where, remedy, cause: error });
  }
}
