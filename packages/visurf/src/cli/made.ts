/** What a command writes where its user says: what is there already is not overwritten, unless it says so. */

import { lstatSync, statSync } from 'node:fs';
import { join } from 'node:path';
import type { Command, Option } from 'commander';

type Values = Readonly<Record<string, unknown>>;

interface Made {
  /** The files that a value of the option, with those of the others, has the command write. */
  readonly files?: (value: string, others: Values) => readonly string[];
  /** An option with which it goes on with what is there, and the one that this goes with. */
  readonly goesOn?: { readonly name: string; readonly beside: string };
  /** What else may be done than choosing another name, where the command overwrites nothing. */
  readonly remedy?: string;
}

/** An option that names a file to make, and `--force`, without which the command ends where there is one already. */
export function withMade(command: Command, option: Option, made: Made = {}): Command {
  const { files = (value: string) => [value], goesOn, remedy } = made;
  const isForced = remedy === undefined;
  if (isForced && !command.options.some(({ long }) => long === '--force')) {
    command.option('--force', 'overwrite what is there already');
  }
  return command.addOption(option).hook('preAction', async (_, self) => {
    const given: Values = self.opts();
    const value = given[option.attributeName()];
    if (value === '') self.error(`error: ${option.long} names nothing`);
    if (typeof value !== 'string') return;
    const there = files(value, given).filter(isThere);
    if (there.length === 0) return;
    const { requireFile, UserError } = await import('@visurf/core/records');
    // What is written aside would take the place of a device, or of a folder.
    for (const file of there) {
      const kind = statSync(file, { throwIfNoEntry: false });
      if (kind) requireFile(kind, file);
    }
    if ((isForced && given['force']) || (goesOn && given[goesOn.name])) return;
    const onward = goesOn && given[goesOn.beside] !== undefined ? `, go on with it with --${goesOn.name}` : '';
    throw new UserError(`${there.length === 1 ? 'is' : 'are'} there already`, {
      where: there.join(', '),
      remedy: `Choose another one${onward}, or ${remedy ?? 'overwrite it with --force'}.`,
    });
  });
}

/** Where a path cannot be followed, the command says so in words of its own. */
function isThere(file: string): boolean {
  try {
    return lstatSync(file, { throwIfNoEntry: false }) !== undefined;
  } catch {
    return false;
  }
}

/** The parts that a split writes into a folder. */
export const partsIn = (folder: string, { validation, test }: Values): string[] =>
  ['train', ...(validation === 0 ? [] : ['validation']), ...(test === 0 ? [] : ['test'])].map((part) =>
    join(folder, `${part}.jsonl`),
  );
