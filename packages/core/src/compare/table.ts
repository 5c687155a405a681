/** A comparison as tables: for the terminal, as Markdown, as LaTeX. */
import type { DifficultyRow } from '../eval/passes.ts';
import type { Difference, Estimate, Estimates } from './statistics.ts';

export interface ComparedPolicies {
  /** The baseline first, then the runs as the file has them. */
  readonly policies: readonly string[];
  readonly columns: readonly string[];
  readonly seeds: readonly number[];
  readonly reference: string;
  readonly estimates: Estimates;
  /** Per run. */
  readonly updates: ReadonlyMap<string, number>;
  /** Seconds of training per run, mean over seeds. */
  readonly seconds: ReadonlyMap<string, number>;
  /** Results of many sampled answers, by file. */
  readonly passes: ReadonlyMap<string, Passes>;
}

/** Many sampled answers to the questions of a file. */
export interface Passes {
  /** [k, percent of questions that one of k answers solves], by policy. */
  readonly passAtK: ReadonlyMap<string, readonly (readonly [k: number, percent: number])[]>;
  readonly byDifficulty: readonly DifficultyRow[];
}

const one = (value: number): string => (Number.isNaN(value) ? '-' : value.toFixed(1));
const estimateText = ({ mean, low, high }: Estimate): string =>
  Number.isNaN(mean) ? '-' : `${one(mean)} [${one(low)}, ${one(high)}]`;
const pText = (p: number): string => (p < 0.001 ? '<0.001' : p.toFixed(3));
const differenceText = (each: Difference): string =>
  Number.isNaN(each.mean) ? '-' : `${estimateText(each)} p=${pText(each.corrected)}`;

/** Whether runs differ in their number of updates, and the table says it. */
const updatesDiffer = ({ updates }: ComparedPolicies): boolean => new Set(updates.values()).size > 1;

const values = (content: ComparedPolicies, cell: (each: Estimate) => string): string[][] => {
  const { policies, columns, estimates, updates, seconds } = content;
  return policies.map((policy) => [
    policy,
    ...columns.map((column) => cell(estimates.values.get(policy)!.get(column)!)),
    ...(updatesDiffer(content) ? [updates.get(policy)?.toString() ?? '-'] : []),
    seconds.has(policy) ? Math.round(seconds.get(policy)!).toString() : '-',
  ]);
};

const differences = ({ policies, columns, estimates, reference }: ComparedPolicies): string[][] =>
  policies
    .filter((policy) => policy !== reference)
    .map((policy) => [
      policy,
      ...columns.map((column) => differenceText(estimates.differences.get(policy)!.get(column)!)),
    ]);

function plain(headings: readonly string[], rows: readonly (readonly string[])[]): string {
  const widths = headings.map((heading, i) => Math.max(heading.length, ...rows.map((row) => row[i]!.length)));
  const line = (cells: readonly string[]): string =>
    cells
      .map((cell, i) => cell.padEnd(widths[i]!))
      .join('  ')
      .trimEnd();
  return [line(headings), line(widths.map((width) => '-'.repeat(width))), ...rows.map(line)].join('\n');
}

const markdownTable = (headings: readonly string[], rows: readonly (readonly string[])[]): string =>
  [headings, headings.map(() => '---'), ...rows].map((row) => `| ${row.join(' | ')} |`).join('\n');

const escaped = (text: string): string => text.replace(/[_%&#]/g, '\\$&');

function latexTable(headings: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]): string => `${cells.join(' & ')} \\\\`;
  return [
    `\\begin{tabular}{l${'c'.repeat(headings.length - 1)}}`,
    '\\toprule',
    line(headings.map(escaped)),
    '\\midrule',
    ...rows.map(line),
    '\\bottomrule',
    '\\end{tabular}',
    '',
  ].join('\n');
}

/** Tables of what many sampled answers say, with a line about each. */
function passTables({ passes }: ComparedPolicies): { about: string; headings: string[]; rows: string[][] }[] {
  return [...passes].flatMap(([file, { passAtK, byDifficulty }]) => {
    const policies = [...passAtK.keys()];
    const ks = [...passAtK.values()][0]!.map(([k]) => `k = ${k}`);
    return [
      {
        about: `${file}: percent of questions that one of k sampled answers solves (pass@k).`,
        headings: ['policy', ...ks],
        rows: [...passAtK].map(([policy, curve]) => [policy, ...curve.map(([, percent]) => one(percent))]),
      },
      {
        about:
          `${file}: questions by how often the ${policies[0]} is right; of each policy the percentage of right answers, ` +
          'that of answers with thinking, and the mean number of tokens.',
        headings: [`${policies[0]} right`, 'questions', ...policies],
        rows: byDifficulty.map(({ difficulty, questions, policies: of }) => [
          difficulty,
          String(questions),
          ...policies.map((policy) => {
            const { passRate, thinking, length } = of.get(policy)!;
            return `${one(100 * passRate)}, ${one(100 * thinking)}, ${one(length)}`;
          }),
        ]),
      },
    ];
  });
}

export function comparisonTables(content: ComparedPolicies): { text: string; markdown: string; latex: string } {
  const { columns, seeds, reference } = content;
  const headings = ['policy', ...columns, ...(updatesDiffer(content) ? ['updates'] : []), 'seconds of training'];
  const against = [`${reference} against`, ...columns];
  const about =
    `Mean over ${seeds.length} seed${seeds.length === 1 ? '' : 's'} (${seeds.join(', ')}), in percent, with 95% intervals of a ` +
    'bootstrap over seeds and samples.';
  const aboutDifferences =
    `Difference of ${reference} to each policy, paired over seeds and samples; p is two-sided, corrected for the number of ` +
    'policies (Holm).';
  const [rows, differing] = [values(content, estimateText), differences(content)];
  const tables = [
    { about, headings, rows },
    { about: aboutDifferences, headings: against, rows: differing },
    ...passTables(content),
  ];
  const latexCell = ({ mean, low, high }: Estimate): string =>
    Number.isNaN(mean) ? '--' : `${one(mean)} {\\scriptsize [${one(low)}, ${one(high)}]}`;
  return {
    text: tables.map((each) => `${each.about}\n\n${plain(each.headings, each.rows)}`).join('\n\n'),
    markdown: tables.map((each) => `${each.about}\n\n${markdownTable(each.headings, each.rows)}\n`).join('\n'),
    latex: latexTable(
      headings,
      values(content, latexCell).map(([name, ...cells]) => [escaped(name!), ...cells]),
    ),
  };
}
