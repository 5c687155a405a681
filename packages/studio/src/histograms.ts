/**
 * How what rollouts earn, and how long they are, is spread over a training: counts by step and bin, made with the index, so
 * that no page adds up every member again.
 */
import type { DatabaseSync } from 'node:sqlite';
import type { GroupRecord } from '@visurf/core/records';

/** Bins: of width a quarter, and four to each doubling. */
const BINS = {
  reward: { of: ({ reward }: Member) => Math.floor(4 * reward + 1e-9), value: (bin: number) => bin / 4 },
  length: {
    of: ({ length }: Member) => Math.floor(4 * Math.log2(1 + length)),
    value: (bin: number) => 2 ** (bin / 4) - 1,
  },
} as const;
export type Measured = keyof typeof BINS;
export const MEASURED = { reward: 'reward', length: 'length' } as const;

type Member = GroupRecord['rollouts'][number];

export interface Histogram {
  /** First steps of the columns. */
  readonly steps: readonly number[];
  /** Where bins begin, ascending. */
  readonly bins: readonly number[];
  /** Share of the members of a column that are in a bin, [column][bin]. */
  readonly shares: readonly (readonly number[])[];
  readonly members: number;
  /** Steps that are counted, and that there are. */
  readonly indexed: number;
  readonly files: number;
}

export const HISTOGRAM_TABLE =
  'CREATE TABLE spread (step INTEGER, what TEXT, bin INTEGER, count INTEGER, PRIMARY KEY (what, step, bin)) WITHOUT ROWID';

/** Notes the members of a step's groups. */
export function noteSpread(database: DatabaseSync, step: number, groups: readonly GroupRecord[]): void {
  database.prepare('DELETE FROM spread WHERE step = ?').run(step);
  const insert = database.prepare('INSERT INTO spread VALUES (?, ?, ?, ?)');
  for (const [what, { of }] of Object.entries(BINS)) {
    const counts = new Map<number, number>();
    for (const member of groups.flatMap(({ rollouts }) => rollouts)) {
      const bin = of(member);
      if (Number.isSafeInteger(bin)) counts.set(bin, (counts.get(bin) ?? 0) + 1);
    }
    for (const [bin, count] of counts) insert.run(step, what, bin, count);
  }
}

/** @param columns that steps are put together in, at most */
export function histogramOf(
  database: DatabaseSync,
  what: Measured,
  columns: number,
): Omit<Histogram, 'indexed' | 'files'> {
  const { least, most } = database
    .prepare('SELECT MIN(step) AS least, MAX(step) AS most FROM spread WHERE what = ?')
    .get(what) as { least: number | null; most: number | null };
  if (least === null || most === null) return { steps: [], bins: [], shares: [], members: 0 };
  const width = Math.max(1, Math.ceil((most - least + 1) / columns));
  const rows = database
    .prepare(
      `SELECT CAST((step - :least) / :width AS INTEGER) AS place, bin, SUM(count) AS count FROM spread WHERE what = :what
        GROUP BY place, bin`,
    )
    .all({ least, width, what }) as { place: number; bin: number; count: number }[];
  const [first, last] = rows.reduce(([a, b], { bin }) => [Math.min(a, bin), Math.max(b, bin)], [Infinity, -Infinity]);
  const count = Math.floor((most - least) / width) + 1;
  const counts = Array.from({ length: count }, () => Array<number>(last - first + 1).fill(0));
  for (const { place, bin, count: members } of rows) counts[place]![bin - first] = members;
  const sums = counts.map((column) => column.reduce((a, b) => a + b, 0));
  return {
    steps: counts.map((_, i) => least + i * width),
    bins: Array.from({ length: last - first + 1 }, (_, i) => BINS[what].value(first + i)),
    shares: counts.map((column, i) => column.map((each) => (sums[i]! > 0 ? each / sums[i]! : 0))),
    members: sums.reduce((a, b) => a + b, 0),
  };
}
