/** Where this user keeps plugins: files that they named, one JSON object a line, in the state directory of the account. */
import { appendFileSync, existsSync, mkdirSync, readFileSync } from 'node:fs';
import { homedir } from 'node:os';
import path from 'node:path';

interface Known {
  /** Absolute path. */
  readonly file: string;
  /** Hash of its text when it was named. */
  readonly sha256: string;
}

const stateFile = (): string =>
  path.join(process.env.XDG_STATE_HOME ?? path.join(homedir(), '.local', 'state'), 'visurf', 'plugins.jsonl');

function known(): Known[] {
  const file = stateFile();
  if (!existsSync(file)) return [];
  return readFileSync(file, 'utf8')
    .split('\n')
    .flatMap((line): Known[] => {
      try {
        const { file: named, sha256 } = JSON.parse(line) as Partial<Known>;
        return typeof named === 'string' && typeof sha256 === 'string' ? [{ file: named, sha256 }] : [];
      } catch {
        return []; // A line that a full disk cut off: its plugin must be named again.
      }
    });
}

/** Notes a plugin that its user named. An account that cannot be written to has to name it again. */
export function rememberPlugin({ file, sha256 }: Known): void {
  if (known().some((each) => each.file === file && each.sha256 === sha256)) return;
  try {
    mkdirSync(path.dirname(stateFile()), { recursive: true });
    appendFileSync(stateFile(), `${JSON.stringify({ file, sha256 })}\n`);
  } catch {
    return;
  }
}

/** The file of the plugin with this hash, where its user named one that is still there; the latest of several. */
export const knownPlugin = (sha256: string): string | undefined =>
  known().findLast((each) => each.sha256 === sha256 && existsSync(each.file))?.file;
