/** Align: the label is rewritten in the surface form that the rollouts prefer. */
import type { Task } from '../tasks/task.ts';
import { withThinking } from '../tasks/thinking.ts';
import type { Frame, LabelPlace, Prompt, Response, Sample } from '../types.ts';

/** How often each form was used, by `TASK/FORM`: plain data, part of the checkpoint. */
export type FormCounts = Readonly<Record<string, number>>;

/** Counts of the last steps that showed some form, the latest last; before them those of the base, where it was asked. */
export type FormHistory = readonly FormCounts[];

/** Steps that the history remembers. */
const REMEMBERED = 16;

/**
 * How labels are written: in the form that rollouts use most (`format`), in that which is most likely for the label at hand,
 * in the task's first (`off`), or in that which rollouts use least.
 */
export type Align = 'format' | 'likelihood' | 'off' | 'rarest';

/** Forms that these responses are written in; malformed ones and those that do not tell are not counted. */
export function countForms<Truth>(task: Task<Truth>, texts: readonly string[]): FormCounts {
  const counts: Record<string, number> = {};
  for (const text of texts) {
    const form = task.recognise(text);
    if (form === undefined) continue;
    const key = keyOf(task, form);
    counts[key] = (counts[key] ?? 0) + 1;
  }
  return counts;
}

const keyOf = <Truth>({ name }: Pick<Task<Truth>, 'name'>, form: string): string => `${name}/${form}`;

/** Adds up counts, of several processes or of several steps. */
export function mergeCounts(all: readonly FormCounts[]): FormCounts {
  const sums: Record<string, number> = {};
  for (const counts of all) {
    for (const [form, count] of Object.entries(counts)) sums[form] = (sums[form] ?? 0) + count;
  }
  return sums;
}

/** The history with a step added; one that showed no form (as those of SFT) is not remembered. */
export function rememberStep(history: FormHistory, counts: FormCounts): FormHistory {
  return Object.keys(counts).length === 0 ? history : [...history, counts].slice(-REMEMBERED);
}

/** The form used most; of equals the one the task lists first, so without counts its first form. */
export const preferredForm = <Truth>(task: Task<Truth>, history: FormHistory): string =>
  firstBy(task, history, (uses, best) => uses > best);

/** The form used least, likewise. */
export const rarestForm = <Truth>(task: Task<Truth>, history: FormHistory): string =>
  firstBy(task, history, (uses, best) => uses < best);

function firstBy<Truth>(
  task: Task<Truth>,
  history: FormHistory,
  isBetter: (uses: number, best: number) => boolean,
): string {
  const counts = mergeCounts(history);
  const uses = (form: string): number => counts[keyOf(task, form)] ?? 0;
  let best = task.forms[0]!.name;
  for (const { name } of task.forms) if (isBetter(uses(name), uses(best))) best = name;
  return best;
}

/** A label as text. */
export interface LabelText {
  readonly form: string;
  readonly text: string;
}

/** What a label says: its answer, and the reasoning before it where the sample has some. */
export interface LabelSource<Truth> {
  readonly sample: Pick<Sample, 'thinking'>;
  readonly truth: Truth;
  readonly frames: readonly Frame[];
}

/** The label in one form. */
export function writeLabel<Truth>(task: Task<Truth>, form: string, source: LabelSource<Truth>): LabelText {
  const found = task.forms.find(({ name }) => name === form);
  if (found === undefined) throw new Error(`the task ${task.name} has no surface form "${form}"`);
  return { form, text: withThinking(source.sample.thinking, found.write(source.truth, source.frames)) };
}

/** The label in all its forms, those that read alike (of `[]` most do) once: what `likelihood` chooses among. */
export function labelTexts<Truth>(task: Task<Truth>, source: LabelSource<Truth>): LabelText[] {
  const byText = new Map<string, LabelText>();
  for (const { name } of task.forms) {
    const label = writeLabel(task, name, source);
    if (!byText.has(label.text)) byText.set(label.text, label);
  }
  return [...byText.values()];
}

/** argmax over forms of log pi_old(form | v, t); the first of equals. */
export function mostLikely(labels: readonly LabelText[], logProbs: readonly number[]): LabelText {
  if (labels.length === 0 || labels.length !== logProbs.length) {
    throw new Error(`${labels.length} labels and ${logProbs.length} log-probabilities`);
  }
  return labels[logProbs.indexOf(Math.max(...logProbs))]!;
}

/** What labels are written with: the policy's tokens, and what it finds likely. */
export interface Pen {
  write(text: string): Response;
  /** log pi_old of each response to the prompt. */
  logProbs(prompt: Prompt, responses: readonly Response[]): readonly number[];
}

/** A label in its form, as a response, and where it stands. */
export interface AlignedLabel {
  readonly place: LabelPlace;
  readonly form: string;
  readonly response: Response;
}

/** Align: the label in the form that the policy prefers; undefined where a prompt has none. */
export function alignLabel<Truth>(
  task: Task<Truth>,
  source: LabelSource<Truth> & { readonly prompt: Prompt },
  place: LabelPlace | 'none',
  align: Align,
  history: FormHistory,
  pen: Pen,
): AlignedLabel | undefined {
  if (place === 'none') return undefined;
  const { form, text } = align === 'likelihood' ? likeliest(task, source, pen) : inForm(task, source, align, history);
  return { place, form, response: pen.write(text) };
}

function inForm<Truth>(
  task: Task<Truth>,
  source: LabelSource<Truth>,
  align: Exclude<Align, 'likelihood'>,
  history: FormHistory,
): LabelText {
  const formOf = align === 'rarest' ? rarestForm : preferredForm;
  return writeLabel(task, formOf(task, align === 'off' ? [] : history), source);
}

function likeliest<Truth>(
  task: Task<Truth>,
  source: LabelSource<Truth> & { readonly prompt: Prompt },
  pen: Pen,
): LabelText {
  const labels = labelTexts(task, source);
  const responses = labels.map(({ text }) => pen.write(text));
  return mostLikely(labels, pen.logProbs(source.prompt, responses));
}
