/**
 * Words of groups, for runs whose groups are too large to be read through for every search: above half a gigabyte. It grows
 * after the index, from the newest step backward; steps that it does not have yet are read.
 */
import type { DatabaseSync } from 'node:sqlite';
import type { GroupRecord } from '@visurf/core/records';

/** Bytes of groups, above which words are indexed. */
const LARGE = 500 << 20;
/** Groups of a step that can be told apart. */
const PLACES = 100_000;

export const TEXT_TABLES = `CREATE VIRTUAL TABLE texts USING fts5(said, content='', contentless_delete=1, detail=none);
  CREATE TABLE texted (step INTEGER PRIMARY KEY)`;

export class TextIndex {
  readonly #database: DatabaseSync;
  readonly #large: number;

  constructor(database: DatabaseSync, large = LARGE) {
    [this.#database, this.#large] = [database, large];
  }

  /** The newest step whose words are to be indexed; undefined where there is none, or reading through is fast enough. */
  get next(): number | undefined {
    const { bytes } = this.#database.prepare('SELECT SUM(bytes) AS bytes FROM groups').get() as {
      bytes: number | null;
    };
    if ((bytes ?? 0) <= this.#large) return undefined;
    const row = this.#database
      .prepare('SELECT MAX(step) AS step FROM files WHERE step NOT IN (SELECT step FROM texted)')
      .get() as { step: number | null };
    return row.step ?? undefined;
  }

  add(step: number, groups: readonly (readonly [place: number, GroupRecord])[]): void {
    this.#database.exec('BEGIN');
    try {
      const insert = this.#database.prepare('INSERT INTO texts (rowid, said) VALUES (?, ?)');
      for (const [place, { problem, solution, rollouts, label }] of groups) {
        const said = [problem, solution, ...rollouts.map(({ text }) => text), label?.text ?? ''];
        insert.run(step * PLACES + place, said.join('\n'));
      }
      this.#database.prepare('INSERT INTO texted VALUES (?)').run(step);
      this.#database.exec('COMMIT');
    } catch (error) {
      this.#database.exec('ROLLBACK');
      throw error;
    }
  }

  remove(step: number): void {
    if (this.#database.prepare('DELETE FROM texted WHERE step = ?').run(step).changes === 0) return;
    this.#database
      .prepare('DELETE FROM texts WHERE rowid BETWEEN ? AND ?')
      .run(step * PLACES, step * PLACES + PLACES - 1);
  }

  /** A condition on groups that may hold a text, and its value: words from their beginnings, in whatever order. */
  condition(text: string): readonly [sql: string, values: Readonly<Record<string, string>>] {
    const words = text.match(/[\p{L}\p{N}]+/gu) ?? [];
    const isEmpty = this.#database.prepare('SELECT 1 FROM texted LIMIT 1').get() === undefined;
    if (words.length === 0 || isEmpty) return ['1', {}];
    const found = `step * ${PLACES} + place IN (SELECT rowid FROM texts WHERE texts MATCH :words)`;
    return [
      `(step NOT IN (SELECT step FROM texted) OR ${found})`,
      { words: words.map((word) => `"${word}"*`).join(' AND ') },
    ];
  }
}
