/** Errors about a sample's solution. */
import { UserError } from '../errors.ts';
import type { Sample } from '../types.ts';

/** @throws UserError that names the sample */
export function solutionFault({ source, id }: Sample, reason: string, remedy: string): never {
  throw new UserError(reason, { where: `${source.file}:${source.line} (${id})`, remedy });
}
