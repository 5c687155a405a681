/** What is wrong, or looks wrong, with lines of a dataset. */
import { UserError } from '../errors.ts';

/**
 * `row`: no sample; `id`: one that came before; `image`, `task`, `label`: cannot be used; `outside`: a label beyond its
 * image; `units`: coordinates that look like shares or thousandths; `xywh`: boxes that look like corner, width and
 * height; `axes`: boxes with x and y exchanged; `rounding`: a label that vanishes or blurs in the model's coordinates;
 * `duplicate`, `alike`: pictures or questions that are there twice, or nearly; `leak`: what training and validation share;
 * `orphan`: image files that no line names; `single`: a class of one example; `dark`: pictures with next to nothing in them;
 * `absent`: every answer is `[]`; `empty`: no samples.
 */
export type FindingKind =
  | 'row'
  | 'id'
  | 'image'
  | 'task'
  | 'label'
  | 'outside'
  | 'units'
  | 'xywh'
  | 'axes'
  | 'rounding'
  | 'duplicate'
  | 'alike'
  | 'leak'
  | 'orphan'
  | 'single'
  | 'dark'
  | 'absent'
  | 'empty';

export interface Finding {
  readonly kind: FindingKind;
  /** An error is a row that cannot be used. */
  readonly severity: 'error' | 'warning';
  readonly file: string;
  /** Number from 1; a finding about several has `lines`. */
  readonly line?: number;
  readonly lines?: readonly number[];
  readonly message: string;
  /** The id of the sample, where it names one. */
  readonly id?: string;
}

/** Findings listed in full; the others are counted. */
const SHOWN = 20;

const EXAMPLE = 'A sample is a line such as {"image": "a.png", "problem": "the red car", "solution": []}.';

export const emptyFinding = (file: string): Finding => ({
  ...{ kind: 'empty', severity: 'error', file, lines: [] },
  message: 'holds no samples',
});

const firstLine = ({ line, lines }: Finding): number => line ?? lines?.[0] ?? 0;

/** `file:line (id x): what is wrong` */
export function describeFinding(finding: Finding): string {
  const { file, line, lines, id, message } = finding;
  const name = id === undefined || id === `line-${line}` ? '' : ` (id ${id})`;
  const others = lines && lines.length > 1 ? ` and ${lines.length - 1} more lines` : '';
  const at = firstLine(finding);
  return `${file}${at > 0 ? `:${at}` : ''}${name}${others}: ${message}`;
}

/** The first findings, one a line, and how many there are beside them. */
export function listFindings(findings: readonly Finding[], shown = SHOWN): string[] {
  const sorted = [...findings].sort((a, b) => (a.file === b.file ? firstLine(a) - firstLine(b) : 0));
  const lines = sorted.slice(0, shown).map((each) => `  ${describeFinding(each)}`);
  return sorted.length > shown ? [...lines, `  and ${sorted.length - shown} more`] : lines;
}

/** Lines that cannot be used, by file. */
export function badLines(findings: readonly Finding[]): Map<string, Set<number>> {
  const bad = new Map<string, Set<number>>();
  for (const { severity, file, line, lines } of findings) {
    if (severity !== 'error') continue;
    const own = bad.get(file) ?? new Set();
    bad.set(file, own);
    for (const each of lines ?? [line ?? 0]) own.add(each);
  }
  return bad;
}

/** The error that lists the rows that cannot be used; undefined where there are none. */
export function unusable(findings: readonly Finding[], shown = SHOWN): UserError | undefined {
  const errors = findings.filter(({ severity }) => severity === 'error');
  const empty = errors.find(({ kind }) => kind === 'empty');
  const rows = errors.filter(({ kind }) => kind !== 'empty');
  if (rows.length === 0) return empty && new UserError(empty.message, { where: empty.file, remedy: EXAMPLE });
  const bad = new Set(rows.flatMap(({ file, line, lines }) => (lines ?? [line]).map((each) => `${file}:${each}`))).size;
  const list = listFindings(rows, shown).join('\n');
  return new UserError(`${bad} bad ${bad === 1 ? 'sample' : 'samples'}:\n${list}`, {
    remedy: `Correct or remove these lines.${rows.length > shown ? ` All of them: visurf data check ${rows[0]!.file} --all` : ''}`,
  });
}
