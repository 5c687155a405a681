/** A directory that appears whole or not at all. */
import { existsSync, mkdirSync, readdirSync, renameSync, rmdirSync, rmSync } from 'node:fs';
import { dirname, resolve } from 'node:path';

import { removing } from '@visurf/torch/signals';

import { assertCreatable } from '../disk/durable.ts';
import { fileError, UserError } from '../errors.ts';

const remedy = 'Choose another one.';

/** @throws UserError unless the directory is empty, or can be made */
export function requireNewDirectory(directory: string): void {
  const target = resolve(directory);
  try {
    assertCreatable(target);
    if (existsSync(target) && readdirSync(target).length > 0) {
      throw new UserError('the directory is not empty', { where: target, remedy });
    }
  } catch (error) {
    throw fileError(error, { where: target, remedy });
  }
}

/**
 * @param write fills the directory that it is given, which then takes its place
 * @throws UserError where there is a directory that is not empty, or nothing can be written
 */
export function writeDirectory(
  directory: string,
  write: (aside: string) => void,
): { readonly directory: string; readonly files: readonly string[] } {
  requireNewDirectory(directory);
  const target = resolve(directory);
  const aside = `${target}.partial`;
  try {
    rmSync(aside, { recursive: true, force: true });
    mkdirSync(dirname(aside), { recursive: true });
    removing(aside, () => {
      mkdirSync(aside);
      write(aside);
      if (existsSync(target)) rmdirSync(target);
      renameSync(aside, target);
    });
    return { directory: target, files: readdirSync(target).sort() };
  } catch (error) {
    throw fileError(error, { where: target });
  } finally {
    rmSync(aside, { recursive: true, force: true });
  }
}
