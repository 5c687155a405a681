/**
 * Folders that files which this user made themself refer to: an import, or a split, may lie elsewhere than its images. Kept in
 * the state directory of the account, never beside the data, where whoever made that could write it.
 */
import { appendFileSync, existsSync, mkdirSync, readFileSync } from 'node:fs';
import { homedir } from 'node:os';
import path from 'node:path';
import { z } from 'zod';

const schema = z.object({ file: z.string(), folders: z.array(z.string()) });

const stateFile = (): string =>
  path.join(process.env.XDG_STATE_HOME ?? path.join(homedir(), '.local', 'state'), 'visurf', 'imports.jsonl');

/** Folders that a file may refer to beside its own. @param file absolute */
export function trustedFolders(file: string): readonly string[] {
  return known().findLast((each) => each.file === file)?.folders ?? [];
}

/** Notes that a file refers to these folders. Where that cannot be kept, `data.allowOutside` says it. */
export function trustFolders(file: string, folders: readonly string[]): void {
  if (trustedFolders(file).join('\n') === folders.join('\n')) return;
  try {
    mkdirSync(path.dirname(stateFile()), { recursive: true });
    appendFileSync(stateFile(), `${JSON.stringify({ file, folders })}\n`);
  } catch {
    return;
  }
}

function known(): z.output<typeof schema>[] {
  if (!existsSync(stateFile())) return [];
  return readFileSync(stateFile(), 'utf8')
    .split('\n')
    .flatMap((line) => {
      try {
        return [schema.parse(JSON.parse(line))];
      } catch {
        return []; // A line that a full disk cut off: its file needs `data.allowOutside`.
      }
    });
}
