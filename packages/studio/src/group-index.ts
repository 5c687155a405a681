/**
 * An index over the groups of a run, in a database that may be deleted at any time: it is made again from the files. It runs
 * in a thread of its own (`index-thread.ts`) and grows from the newest step backward.
 */
import { closeSync, constants, mkdirSync, openSync, readSync, readdirSync, rmSync, statSync } from 'node:fs';
import path from 'node:path';
import { DatabaseSync, type StatementSync } from 'node:sqlite';
import { readBytes, type GroupRecord, type ResponseRecord, type SampleRecord } from '@visurf/core/records';
import { HISTOGRAM_TABLE, histogramOf, noteSpread, type Histogram, type Measured } from './histograms.ts';
import { suspicionOf } from './suspicion.ts';
import { TEXT_TABLES, TextIndex } from './text-index.ts';

/** Of what the columns mean: an index of another version is made anew. */
const VERSION = 3;
/** Bytes of a file of groups, beyond which it is not read. */
const LARGEST = 256 << 20;
/** Newest files that are looked at again for changes every time. */
const FRESH = 8;
/** Files between two looks at the folder. */
const BATCH = 200;
/** Milliseconds that one text search may take. */
const SEARCH_TIME = 2_000;

export const FILTERS = {
  all: '1',
  active: 'active = 1',
  inactive: 'active = 0',
  zero: 'accuracyBest <= 0',
  full: 'accuracyWorst > 0 AND spreadAccuracy = 0',
  cut: 'cut > 0',
  solved: 'accuracyBest > 0 AND before <= 0',
  broken: 'accuracyBest <= 0 AND before > 0',
} as const;
export type Filter = keyof typeof FILTERS;

export const SORTS = {
  newest: 'step DESC, place',
  oldest: 'step, place',
  worst: 'mean, step DESC',
  best: 'mean DESC, step DESC',
  spread: 'spread DESC, step DESC',
} as const;
export type Sort = keyof typeof SORTS;

export interface GroupQuery {
  readonly filter: Filter;
  readonly sort: Sort;
  /** Groups of this sample alone. */
  readonly id?: string | undefined;
  readonly step?: number | undefined;
  /** Text that the line of a group holds. */
  readonly text?: string | undefined;
  readonly from: number;
  readonly limit: number;
}

export interface GroupRow {
  readonly step: number;
  /** Line in its file, from 0. */
  readonly place: number;
  readonly id: string;
  readonly problem: string;
  /** 1 where the label was; null without one. */
  readonly active: number | null;
  readonly form: string | null;
  readonly rollouts: number;
  readonly mean: number;
  readonly spread: number;
  readonly accuracyBest: number;
  readonly cut: number;
}

/** A sample whose label may be wrong. */
export interface Suspect {
  readonly id: string;
  readonly problem: string;
  /** 0 to 1. */
  readonly suspicion: number;
  /** Groups that say so, and the last step among them. */
  readonly seen: number;
  readonly step: number;
}

/** Groups of a sample, the last ones, that count. */
const SIGHTINGS = 3;

export interface GroupAnswer {
  readonly total: number;
  readonly rows: readonly GroupRow[];
  /** Files that are in the index, and files that there are. */
  readonly indexed: { readonly done: number; readonly files: number };
  /** A search by text stopped at this step for want of time. */
  readonly searchedTo?: number | undefined;
}

const SHOWN = 'step, place, id, problem, active, form, rollouts, mean, spread, accuracyBest, cut';

export class GroupIndex {
  readonly #folder: string;
  readonly #database: DatabaseSync;
  /** Size and time of change by step. */
  readonly #known = new Map<number, string>();
  #present: readonly number[] = [];
  /** Steps that are to be indexed, the newest at the end. */
  #waiting: number[] = [];
  readonly #truths = new Map<string, SampleRecord>();
  #samplesSize = -1;
  #insert: StatementSync | undefined;
  readonly #texts: TextIndex;
  #areTextsDone = false;

  /**
   * @param file of the database; ':memory:' for none
   * @param large bytes of groups, above which their words are indexed
   */
  constructor(directory: string, file: string, large?: number) {
    this.#folder = path.join(directory, 'groups');
    this.#database = openDatabase(file);
    this.#texts = new TextIndex(this.#database, large);
    for (const { step, state } of this.#database.prepare('SELECT step, state FROM files').all() as {
      step: number;
      state: string;
    }[])
      this.#known.set(step, state);
  }

  close(): void {
    this.#database.close();
  }

  /**
   * Indexes one file that is new or has changed, the newest first; forgets those that have gone.
   * @returns whether there is more to do
   */
  advance(): boolean {
    if (this.#waiting.length === 0) this.#look();
    const step = this.#waiting.pop();
    if (step === undefined) return this.#addText();
    const state = this.#stateOf(step);
    if (state !== undefined && state !== this.#known.get(step)) this.#index(step, state);
    return true;
  }

  /** Indexes the words of one file, where that is worth it. @returns whether there is more to do */
  #addText(): boolean {
    const step = this.#areTextsDone ? undefined : this.#texts.next;
    this.#areTextsDone = step === undefined;
    if (step === undefined) return false;
    const lines = readOrNothing(this.#fileOf(step)).toString('utf8').split('\n');
    this.#texts.add(
      step,
      lines.flatMap((line, place) => {
        const group = groupOf(line);
        return group ? [[place, group] as const] : [];
      }),
    );
    return true;
  }

  /** How rewards or lengths are spread over the training. */
  histogram(what: Measured, columns: number): Histogram {
    const [indexed, files] = [this.#known.size, this.#present.length];
    return { ...histogramOf(this.#database, what, columns), indexed, files };
  }

  /** Lists the folder, and what of it is to be indexed. */
  #look(): void {
    this.#present = stepsIn(this.#folder);
    const present = new Set(this.#present);
    for (const step of this.#known.keys()) if (!present.has(step)) this.#remove(step);
    const isDue = (step: number, place: number): boolean =>
      !this.#known.has(step) || (place < FRESH && this.#stateOf(step) !== this.#known.get(step));
    // The newest is taken first, from the end; a long list is made anew now and then, for what has come since.
    this.#waiting = this.#present.filter(isDue).slice(0, BATCH).reverse();
  }

  /** Looks at all files again: the run went back, and may have written the same steps anew. */
  recheck(): void {
    for (const step of stepsIn(this.#folder)) {
      if (this.#known.has(step) && this.#stateOf(step) !== this.#known.get(step)) this.#remove(step);
    }
  }

  query({ filter, sort, id, step, text, from, limit }: GroupQuery): GroupAnswer {
    const indexed = { done: this.#known.size, files: this.#present.length };
    const conditions = [
      FILTERS[filter],
      ...(id === undefined ? [] : ['id = :id']),
      ...(step === undefined ? [] : ['step = :step']),
    ];
    const values = { ...(id !== undefined && { id }), ...(step !== undefined && { step }) };
    const needsBefore = filter === 'solved' || filter === 'broken';
    const source = needsBefore
      ? '(SELECT *, LAG(accuracyBest) OVER (PARTITION BY id ORDER BY step) AS before FROM groups)'
      : 'groups';
    const where = conditions.join(' AND ');
    if (text !== undefined && text !== '')
      return { ...this.#search(source, where, values, text, from, limit), indexed };
    const count = this.#database.prepare(`SELECT COUNT(*) AS total FROM ${source} WHERE ${where}`).get(values) as {
      total: number;
    };
    const rows = this.#database
      .prepare(`SELECT ${SHOWN} FROM ${source} WHERE ${where} ORDER BY ${SORTS[sort]} LIMIT :limit OFFSET :from`)
      .all({ ...values, limit, from }) as unknown as GroupRow[];
    return { total: count.total, rows, indexed };
  }

  /** The newest groups whose line holds a text, in whatever case: lines are read, newest step first. */
  #search(
    source: string,
    where: string,
    values: Record<string, string | number>,
    text: string,
    from: number,
    limit: number,
  ): Omit<GroupAnswer, 'indexed'> {
    const wanted = JSON.stringify(text).slice(1, -1).toLowerCase();
    const [condition, words] = this.#texts.condition(text);
    const candidates = this.#database
      .prepare(`SELECT ${SHOWN}, start, bytes FROM ${source} WHERE ${where} AND ${condition} ORDER BY step DESC, place`)
      .iterate({ ...values, ...words }) as Iterable<unknown> as Iterable<GroupRow & { start: number; bytes: number }>;
    const rows: GroupRow[] = [];
    const until = performance.now() + SEARCH_TIME;
    let [step, content, searchedTo] = [-1, Buffer.alloc(0), undefined as number | undefined];
    for (const { start, bytes, ...row } of candidates) {
      if (row.step !== step) {
        if (performance.now() > until) {
          searchedTo = row.step;
          break;
        }
        [step, content] = [row.step, readOrNothing(this.#fileOf(row.step))];
      }
      if (
        content
          .toString('utf8', start, start + bytes)
          .toLowerCase()
          .includes(wanted)
      )
        rows.push(row);
    }
    return { total: rows.length, rows: rows.slice(from, from + limit), searchedTo };
  }

  /** A group as it was written. */
  read(step: number, place: number): GroupRecord | undefined {
    const row = this.#database
      .prepare('SELECT start, bytes FROM groups WHERE step = ? AND place = ?')
      .get(step, place) as { start: number; bytes: number } | undefined;
    // Not indexed yet: its file says it all the same.
    if (!row)
      return groupOf(
        readOrNothing(this.#fileOf(step))
          .toString('utf8')
          .split('\n', place + 1)[place] ?? '',
      );
    const content = Buffer.alloc(row.bytes);
    try {
      const file = openSync(this.#fileOf(step), constants.O_RDONLY | constants.O_NONBLOCK);
      try {
        readSync(file, content, 0, row.bytes, row.start);
      } finally {
        closeSync(file);
      }
      return groupOf(content.toString('utf8'));
    } catch {
      // It has gone since it was indexed.
      return undefined;
    }
  }

  /** Steps at which a sample was asked, with how it went. */
  history(id: string): readonly GroupRow[] {
    return this.#database
      .prepare(`SELECT ${SHOWN} FROM groups WHERE id = ? ORDER BY step, place`)
      .all(id) as unknown as GroupRow[];
  }

  /** Samples whose groups speak against their labels, the most suspicious first: the mean of their last sightings. */
  suspects(limit: number): readonly Suspect[] {
    return this.#database
      .prepare(
        `SELECT id, problem, AVG(suspicion) AS suspicion, COUNT(*) AS seen, MAX(step) AS step FROM
          (SELECT *, ROW_NUMBER() OVER (PARTITION BY id ORDER BY step DESC) AS age FROM groups) WHERE age <= ${SIGHTINGS}
          GROUP BY id HAVING suspicion > 0 ORDER BY suspicion DESC, id LIMIT ?`,
      )
      .all(limit) as unknown as Suspect[];
  }

  /** What a sample's label points at. */
  #truthOf(id: string): SampleRecord | undefined {
    const known = this.#truths.get(id);
    if (known) return known;
    const file = path.join(path.dirname(this.#folder), 'samples.jsonl');
    const size = sizeOf(file);
    if (size === this.#samplesSize || size > LARGEST) return undefined;
    this.#samplesSize = size;
    for (const line of readOrNothing(file).toString('utf8').split('\n')) {
      try {
        const sample = JSON.parse(line) as SampleRecord;
        if (Array.isArray(sample.boxes) && Array.isArray(sample.points)) this.#truths.set(sample.id, sample);
      } catch {
        // Half written, or damaged: the label of the group stands in.
      }
    }
    return this.#truths.get(id);
  }

  #fileOf(step: number): string {
    return path.join(this.#folder, `${String(step).padStart(6, '0')}.jsonl`);
  }

  #stateOf(step: number): string | undefined {
    try {
      const { size, mtimeMs } = statSync(this.#fileOf(step));
      return `${size} ${mtimeMs}`;
    } catch {
      return undefined;
    }
  }

  #remove(step: number): void {
    this.#database.prepare('DELETE FROM groups WHERE step = ?').run(step);
    this.#database.prepare('DELETE FROM files WHERE step = ?').run(step);
    this.#database.prepare('DELETE FROM spread WHERE step = ?').run(step);
    this.#texts.remove(step);
    this.#known.delete(step);
  }

  #index(step: number, state: string): void {
    const content = readOrNothing(this.#fileOf(step));
    this.#database.exec('BEGIN');
    try {
      this.#remove(step);
      const insert = (this.#insert ??= this.#database.prepare(
        `INSERT INTO groups VALUES (${Array(16).fill('?').join(', ')})`,
      ));
      const groups: GroupRecord[] = [];
      let [start, place] = [0, 0];
      for (let end = content.indexOf(10); end >= 0; end = content.indexOf(10, start)) {
        const group = groupOf(content.toString('utf8', start, end));
        if (group) {
          insert.run(...columns(group, step, place), suspicionOf(group, this.#truthOf(group.id)), start, end - start);
          groups.push(group);
        }
        [start, place] = [end + 1, place + 1];
      }
      noteSpread(this.#database, step, groups);
      this.#areTextsDone = false;
      this.#database.prepare('INSERT INTO files VALUES (?, ?)').run(step, state);
      this.#database.exec('COMMIT');
      this.#known.set(step, state);
    } catch (error) {
      this.#database.exec('ROLLBACK');
      throw error;
    }
  }
}

function openDatabase(file: string): DatabaseSync {
  if (file !== ':memory:') mkdirSync(path.dirname(file), { recursive: true });
  const open = (): DatabaseSync => {
    const database = new DatabaseSync(file);
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

/** Steps that have a file, the newest first. */
function stepsIn(folder: string): number[] {
  try {
    return readdirSync(folder)
      .flatMap((name) => (/^\d{6,}\.jsonl$/.test(name) ? [Number.parseInt(name, 10)] : []))
      .sort((a, b) => b - a);
  } catch {
    return [];
  }
}

function sizeOf(file: string): number {
  try {
    return statSync(file).size;
  } catch {
    return -1;
  }
}

function readOrNothing(file: string): Buffer<ArrayBuffer> {
  try {
    return statSync(file).size > LARGEST ? Buffer.alloc(0) : Buffer.from(readBytes(file));
  } catch {
    return Buffer.alloc(0);
  }
}

const isNumbers = (terms: unknown): terms is Record<string, number> =>
  typeof terms === 'object' && terms !== null && Object.values(terms).every((each) => typeof each === 'number');

/** A line of the file, where it is a group. */
function groupOf(line: string): GroupRecord | undefined {
  try {
    const group = JSON.parse(line) as Partial<GroupRecord> | null;
    const isGroup =
      typeof group?.id === 'string' &&
      typeof group.problem === 'string' &&
      Array.isArray(group.rollouts) &&
      [...(group.rollouts as readonly ResponseRecord[]), ...(group.label ? [group.label] : [])].every(
        (each) => typeof each.text === 'string' && typeof each.reward === 'number' && isNumbers(each.terms),
      );
    return isGroup ? (group as GroupRecord) : undefined;
  } catch {
    return undefined;
  }
}

/** The mark for being right; of tasks that name it otherwise, the reward. */
export const accuracyOf = ({ terms, reward }: { terms: Readonly<Record<string, number>>; reward: number }): number =>
  terms['accuracy'] ?? reward;

function columns({ id, problem, label, rollouts }: GroupRecord, step: number, place: number) {
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
