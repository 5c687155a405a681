/**
 * The directory of a demo: `demo.json` says what it was started with, whether it is finished, and what time it took.
 * Everything in it can be made again from that.
 */
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { UserError } from '@visurf/core';

export interface Session {
  readonly quick: boolean;
  readonly seed: number;
  finished: boolean;
  /** Seconds by stage, over all sessions. */
  readonly seconds: Record<string, number>;
}

interface Wanted {
  /** Whether a finished demo in the same place may be deleted. */
  readonly again?: boolean | undefined;
  readonly quick: boolean;
  readonly seed: number;
  readonly resume: boolean;
}

const FILE = 'demo.json';
/** What a demo writes. */
const OWN = [FILE, 'data', 'answers', 'runs', 'results', 'figures', 'table.md', 'table.tex', 'report.html'];

/** Whether a directory holds a demo that is finished. */
export const isFinished = (directory: string): boolean => readSession(directory)?.finished === true;

/**
 * Begins a demo, or goes on with one.
 * @throws UserError where the directory holds something else, or a demo that was not asked for
 */
export function openSession(directory: string, { quick, seed, resume, again }: Wanted): Session {
  const begun = readSession(directory);
  if (begun === undefined) {
    if (resume) throw new UserError('there is no demo to resume', { where: directory });
    if (existsSync(directory) && readdirSync(directory).length > 0) {
      throw new UserError('the directory is not empty', { where: directory, remedy: 'Choose another --output.' });
    }
  } else if (resume) {
    if (begun.quick !== quick || begun.seed !== seed) {
      const options = `${begun.quick ? '--quick ' : ''}--seed ${begun.seed}`;
      throw new UserError(`the demo here was started with ${options}`, {
        where: directory,
        remedy: 'Resume with these.',
      });
    }
    return begun;
  } else if (!begun.finished) {
    throw new UserError('an unfinished demo is here', {
      where: directory,
      remedy: 'Go on with it by --resume, or choose another --output.',
    });
  } else if (!again) {
    throw new UserError('a finished demo is here', {
      where: directory,
      remedy: 'Look at its report.html; --again deletes it and begins anew, --output names another place.',
    });
  } else {
    for (const name of OWN) rmSync(path.join(directory, name), { recursive: true, force: true });
  }
  const session = { quick, seed, finished: false, seconds: {} };
  saveSession(directory, session);
  return session;
}

export function saveSession(directory: string, session: Session): void {
  mkdirSync(directory, { recursive: true });
  const file = path.join(directory, FILE);
  writeFileSync(`${file}.tmp`, `${JSON.stringify(session, undefined, 2)}\n`);
  renameSync(`${file}.tmp`, file);
}

function readSession(directory: string): Session | undefined {
  const file = path.join(directory, FILE);
  if (!existsSync(file)) return undefined;
  try {
    return JSON.parse(readFileSync(file, 'utf8')) as Session;
  } catch (cause) {
    throw new UserError('the demo here is damaged', { where: file, remedy: 'Choose another --output.', cause });
  }
}
