/** The database of an index: its tables, and a group as a row of them. */
import { mkdirSync, rmSync } from 'node:fs';
import path from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import type { GroupRecord } from '@visurf/core/records';
import { HISTOGRAM_TABLE } from './histograms.ts';
import { TEXT_TABLES } from './text-index.ts';

/** Of what the columns mean: an index of another version is made anew. */
const VERSION = 3;

/** Milliseconds for which a database that somebody else writes is waited for. */
const PATIENCE = 5_000;

export function openDatabase(file: string): DatabaseSync {
  if (file !== ':memory:') mkdirSync(path.dirname(file), { recursive: true });
  const open = (): DatabaseSync => {
    // Another studio may be at the same index.
    const database = new DatabaseSync(file, { timeout: PATIENCE });
    database.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = OFF');
    const { user_version: version } = database.prepare('PRAGMA user_version').get() as { user_version: number };
    if (version !== VERSION) {
      database.exec(`DROP TABLE IF EXISTS groups; DROP TABLE IF EXISTS files;
        DROP TABLE IF EXISTS spread; DROP TABLE IF EXISTS texts; DROP TABLE IF EXISTS texted;
        ${HISTOGRAM_TABLE}; ${TEXT_TABLES};
        CREATE TABLE files (step INTEGER PRIMARY KEY, state TEXT NOT NULL);
        CREATE TABLE groups (step INTEGER, place INTEGER, id TEXT, problem TEXT, active INTEGER, form TEXT, rollouts INTEGER,
          mean REAL, spread REAL, accuracyBest REAL, accuracyWorst REAL, spreadAccuracy REAL, cut INTEGER, suspicion REAL,
          start INTEGER, bytes INTEGER, PRIMARY KEY (step, place)) WITHOUT ROWID;
        CREATE INDEX byId ON groups (id, step);
        PRAGMA user_version = ${VERSION}`);
    }
    return database;
  };
  try {
    return open();
  } catch {
    // No database, or a damaged one: it holds nothing that the files do not.
    for (const end of ['', '-wal', '-shm']) rmSync(`${file}${end}`, { force: true });
    return open();
  }
}

/** The mark for being right; of tasks that name it otherwise, the reward. */
const accuracyOf = ({ terms, reward }: { terms: Readonly<Record<string, number>>; reward: number }): number =>
  terms['accuracy'] ?? reward;

export function columns({ id, problem, label, rollouts }: GroupRecord, step: number, place: number) {
  const rewards = rollouts.map(({ reward }) => reward);
  const accuracies = rollouts.map(accuracyOf);
  const least = (values: readonly number[]): number => values.reduce((a, b) => Math.min(a, b), Infinity);
  const most = (values: readonly number[]): number => values.reduce((a, b) => Math.max(a, b), -Infinity);
  const some = rollouts.length > 0;
  return [
    ...([step, place, id, problem] as const),
    label ? Number(label.active) : null,
    label?.form ?? null,
    rollouts.length,
    some ? rewards.reduce((a, b) => a + b, 0) / rewards.length : 0,
    some ? most(rewards) - least(rewards) : 0,
    some ? most(accuracies) : 0,
    some ? least(accuracies) : 0,
    some ? most(accuracies) - least(accuracies) : 0,
    rollouts.filter(({ stop }) => stop === 'length').length,
  ] as const;
}
