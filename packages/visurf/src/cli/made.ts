/** What a command writes where its user says: what is there already is kept beside it. */

import { lstatSync, statSync } from 'node:fs';
import { join } from 'node:path';
import type { Command, Option } from 'commander';
import { sayKept } from './output.ts';

type Values = Readonly<Record<string, unknown>>;

export interface Made {
  /** The files that a value of the option, with those of the others, has the command write. */
  readonly files?: (value: string, others: Values) => readonly string[];
  /** An option with which it goes on with what is there. */
  readonly goesOn?: string;
}

/** An option that names a file to make: one that is there already is copied first, and the copy named at the end. */
export function withMade(command: Command, option: Option, made: Made = {}): Command {
  const { files = (value: string) => [value], goesOn } = made;
  return command.addOption(option).hook('preAction', async (_, self) => {
    const given: Values = self.opts();
    const value = given[option.attributeName()];
    if (value === '') self.error(`error: ${option.long} names nothing`);
    if (typeof value !== 'string') return;
    const there = files(value, given).filter(isThere);
    if (there.length === 0) return;
    const { requireFile, SetAside } = await import('@visurf/core/records');
    for (const file of there) {
      const kind = statSync(file, { throwIfNoEntry: false });
      if (!kind) continue;
      // What is written aside would take the place of a device, or of a folder.
      requireFile(kind, file);
      if (goesOn !== undefined && given[goesOn]) continue;
      const aside = new SetAside(file);
      process.once('exit', () => {
        if (aside.settle()) sayKept(file, aside.copy);
      });
    }
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
