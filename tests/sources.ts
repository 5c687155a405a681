/** The files of the repository, and what they import, for the tests that guard its shape. */

import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { basename, dirname, join, relative, resolve } from 'node:path';

export const root = resolve(import.meta.dirname, '..');

export interface Import {
  /** Relative to the root, with `/`. */
  readonly from: string;
  /** The file, relative to the root, of an import from the same package; else the name of the package. */
  readonly to: string;
  /** As it is written. */
  readonly specifier: string;
  /** True for `import type`, which leaves nothing behind at run time. */
  readonly typeOnly: boolean;
}

/** Tracked files, and untracked ones that git does not ignore, but for directories of runs. */
export function repositoryFiles(): string[] {
  const list = (...which: string[]): string[] =>
    execFileSync('git', ['ls-files', ...which], { cwd: root })
      .toString()
      .split('\n')
      .filter((file) => file !== '' && existsSync(join(root, file)));
  const untracked = list('--others', '--exclude-standard');
  const runs = untracked.filter((file) => basename(file) === 'events.jsonl').map((file) => `${dirname(file)}/`);
  return [...list('--cached'), ...untracked.filter((file) => !runs.some((run) => file.startsWith(run)))];
}

/** Every import of a TypeScript file, static and dynamic. */
export function importsOf(file: string): Import[] {
  const text = readFileSync(join(root, file), 'utf8').replace(/\/\*[\s\S]*?\*\/|^\s*\/\/.*$/gm, '');
  const statement = /\b(?:import|export)\s+(type\s)?(?:[\w*{}\s,$]+?\sfrom\s+)?'([^']+)'|\bimport\(\s*'([^']+)'\s*\)/g;
  return [...text.matchAll(statement)].map(([, type, fixed, lazy]) => {
    const target = fixed ?? lazy ?? '';
    const to = target.startsWith('.') ? relative(root, resolve(root, dirname(file), target)) : packageOf(target);
    return { from: file, to, specifier: target, typeOnly: type !== undefined };
  });
}

function packageOf(specifier: string): string {
  return specifier
    .split('/')
    .slice(0, specifier.startsWith('@') ? 2 : 1)
    .join('/');
}
