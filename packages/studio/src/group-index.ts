/**
 * An index over the groups of a run, in a database that may be deleted at any time: it is made again from the files. It runs
 * in a thread of its own (`index-thread.ts`) and grows from the newest step backward.
 */
import { closeSync, constants, openSync, readSync, statSync } from 'node:fs';
import path from 'node:path';
import type { DatabaseSync, StatementSync } from 'node:sqlite';
import type { GroupRecord, SampleRecord } from '@visurf/core/records';
import { changedAt, groupOf, LARGEST, readOrNothing, sizeOf, stepsIn } from './group-files.ts';
import { FILTERS, SORTS, type GroupAnswer, type GroupQuery, type GroupRow, type Suspect } from './group-query.ts';
import { columns, openDatabase } from './group-table.ts';
import { histogramOf, noteSpread, type Histogram, type Measured } from './histograms.ts';
import { suspicionOf } from './suspicion.ts';
import { TextIndex } from './text-index.ts';

/** Newest files that are looked at again for changes every time. */
const FRESH = 8;
/** Files between two looks at the folder. */
const BATCH = 200;
/** Milliseconds that one text search may take. */
const SEARCH_TIME = 2_000;

/** Groups of a sample, the last ones, that count. */
const SIGHTINGS = 3;

const SHOWN = 'step, place, id, problem, active, form, rollouts, mean, spread, accuracyBest, cut';

export class GroupIndex {
  readonly #folder: string;
  readonly #database: DatabaseSync;
  /** Size and time of change by step. */
  readonly #known = new Map<number, string>();
  #present: readonly number[] = [];
  /** When the folder was changed that `#present` is a list of. */
  #listed = -1;
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
    const changed = changedAt(this.#folder);
    const isNew = changed !== this.#listed;
    if (isNew) {
      [this.#present, this.#listed] = [stepsIn(this.#folder), changed];
      const present = new Set(this.#present);
      for (const step of this.#known.keys()) if (!present.has(step)) this.#remove(step);
    }
    const looked = isNew || this.#known.size < this.#present.length ? this.#present : this.#present.slice(0, FRESH);
    const isDue = (step: number, place: number): boolean =>
      !this.#known.has(step) || (place < FRESH && this.#stateOf(step) !== this.#known.get(step));
    // The newest is taken first, from the end; a long list is made anew now and then, for what has come since.
    this.#waiting = looked.filter(isDue).slice(0, BATCH).reverse();
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
