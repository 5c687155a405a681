/** Runs below some folders: every folder that holds `events.jsonl` is one. */
import { createHash } from 'node:crypto';
import { existsSync, readdirSync, realpathSync, statSync } from 'node:fs';
import path from 'node:path';
import { UserError } from '@visurf/core/records';

export interface RunFolder {
  /** The same for a folder as long as it stays where it is: links into the studio hold. */
  readonly id: string;
  /** From the folder that was named. */
  readonly name: string;
  readonly directory: string;
}

export const EVENTS = 'events.jsonl';
/** What a run itself consists of, and what never holds one. */
const NEVER = new Set(['checkpoints', 'groups', 'images', 'evaluations', 'branches', 'node_modules', 'best']);
const DEPTH = 5;
/** Folders that are looked into, so that a whole disk that is named by mistake ends. */
const MOST_FOLDERS = 20_000;

/** @throws UserError for a root that is no folder */
export function findRuns(roots: readonly string[]): RunFolder[] {
  const found = new Map<string, RunFolder>();
  let left = MOST_FOLDERS;
  const visit = (directory: string, root: string, depth: number): void => {
    if (left-- <= 0) return;
    if (existsSync(path.join(directory, EVENTS))) {
      const name = path.relative(path.dirname(root), directory) || path.basename(directory);
      const id = createHash('sha256').update(directory).digest('hex').slice(0, 12);
      found.set(id, { id, name, directory });
      return;
    }
    if (depth === DEPTH) return;
    for (const each of entriesOf(directory)) visit(path.join(directory, each), root, depth + 1);
  };
  for (const root of roots) {
    const real = realRoot(root);
    visit(real, real, 0);
  }
  return [...found.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
}

function realRoot(root: string): string {
  try {
    const real = realpathSync(root);
    if (statSync(real).isDirectory()) return real;
  } catch {
    // Said below.
  }
  throw new UserError('there is no such folder', {
    where: root,
    remedy: 'Name folders that hold runs: the output of visurf train, or a folder above it.',
  });
}

/** Folders, without links: a run is looked at where it is. */
function entriesOf(directory: string): string[] {
  try {
    return readdirSync(directory, { withFileTypes: true })
      .filter((entry) => entry.isDirectory() && !NEVER.has(entry.name) && !entry.name.startsWith('.'))
      .map(({ name }) => name);
  } catch {
    // It has gone, or may not be read: there is nothing to show of it.
    return [];
  }
}
