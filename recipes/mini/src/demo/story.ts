/** What the demo's report says: from the comparison and its files to the report's plain data. */
import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import {
  readEvents,
  type Box,
  type Compared,
  type ReportAnswer,
  type ReportCurve,
  type ReportData,
  type RunEvent,
} from '@visurf/core';

import type { DrawnQuestion } from '../questions.ts';
import { dataFile, NAMES, POLICIES, type Size } from './plan.ts';

export interface Row {
  readonly name: string;
  /** Percent by column. */
  readonly metrics: Readonly<Record<string, number>>;
}

/**
 * What the paper's table says of its benchmarks, for Qwen2.5-VL-7B: gRefCOCO (gIoU, N-Acc), ReasonSeg val (gIoU), OmniACT
 * (accuracy), RealIAD (ROC-AUC), ISIC2018 (box accuracy), MathVista (accuracy).
 */
export const PUBLISHED: readonly Row[] = Object.entries({
  base: [33.4, 1.8, 56.9, 60.4, 50.1, 78.8, 68.2],
  SFT: [41.6, 3.3, 63.8, 55.4, 65.5, 91.7, 68.3],
  RLVR: [42.8, 0, 66, 65.5, 50, 90.3, 71.2],
  'SFT → RLVR': [65, 52.1, 57.2, 64.5, 66.9, 93.6, 68.5],
  ViSurf: [66.6, 57.1, 66.5, 65.6, 69.3, 94.7, 71.6],
}).map(([name, values]) => ({
  name,
  metrics: Object.fromEntries(
    ['referring', 'N-Acc', 'relational', 'clicking', 'defects', 'lesions', 'sums'].map((column, i) => [
      column,
      values[i]!,
    ]),
  ),
}));

const nameOf = (policy: string): string => NAMES[policy] ?? policy;

/** The columns of the comparison, for every policy. */
export const rowsOf = ({ policies, columns, estimates }: Compared): Row[] =>
  policies.map((policy) => ({
    name: nameOf(policy),
    metrics: Object.fromEntries(
      columns.map((column) => [column, estimates.values.get(policy)!.get(column)!.mean] as const),
    ),
  }));

/** The columns that the paper has, too. */
export const publishedOf = ({ columns }: Pick<Compared, 'columns'>): Row[] =>
  PUBLISHED.map(({ name, metrics }) => ({
    name,
    metrics: Object.fromEntries(Object.entries(metrics).filter(([column]) => columns.includes(column))),
  }));

/** What the columns measure. */
const DEFINITIONS: Readonly<Record<string, string>> = {
  referring:
    'gIoU, the mean over all questions of the overlap (intersection over union) of predicted and true boxes; a question ' +
    'about an absent object counts 100 for a well-formed [] and 0 for anything else.',
  'N-Acc': 'Share of absent objects answered by a well-formed [].',
  relational: 'gIoU of questions about places: left of, above.',
  clicking: 'Share of right answers.',
  sums: 'Share of right answers.',
  defects: 'Area under the ROC curve.',
  lesions: 'Share of boxes with an overlap above 0.5.',
  skills: 'Share of right answers to questions that training never asked: what is forgotten shows there.',
  thinking: 'Share of answers that think before they answer.',
};

export interface Story {
  readonly output: string;
  readonly size: Size;
  readonly seed: number;
  readonly compared: Compared;
  /** Seconds by stage. */
  readonly seconds: Readonly<Record<string, number>>;
}

export function tell({ output, size, seed, compared, seconds }: Story): ReportData {
  const rows = rowsOf(compared);
  const minutes = (run: string): string =>
    `${((seconds[`${run}, seed ${seed}: training`] ?? 0) / 60).toFixed(1)} minutes for ${nameOf(run)}`;
  const [, ...runs] = POLICIES;
  const columns = compared.columns.map((key) => ({
    ...{ key, label: key, unit: '%', better: 'higher' as const },
    ...(DEFINITIONS[key] !== undefined && { definition: DEFINITIONS[key] }),
  }));
  const published = publishedOf(compared);
  const shared = Object.keys(published[0]!.metrics);
  const figures = published.map(
    ({ name, metrics }) => `${name} ${shared.map((key) => metrics[key]!.toFixed(1)).join(' / ')}`,
  );
  return {
    title: 'What it knows, what it sometimes gets right, what it never says',
    intro: [
      `A small vision-language model (Qwen2.5-VL's architecture, 1.5 million parameters) is trained on ${size.sets.length} tasks at once. Some answers it gives well, some only when it thinks with care, and two it never gives: that nothing matches, and that a part is defective.`,
      `SFT, RLVR, SFT followed by RLVR, and ViSurf start from the same base and make ${size.steps} updates each. SFT learns from labels, RLVR from the model's own answers. ViSurf learns from its own answers, and from the label where none of them is as good.`,
    ].join('\n\n'),
    facts: [
      ['questions', String(readJsonl<Asked>(dataFile(output, 'test')).length)],
      ['date', new Date().toISOString().slice(0, 10)],
      ['seed', String(seed)],
    ],
    columns,
    rows,
    curves: curves(output, seed, size),
    samples: samples(output, seed),
    notes: [
      'Answers are greedy. The pictures show the first questions of each task, not chosen ones. Held-out curves are measured on a validation split of its own; the table on a test split that training never reads.',
      `Seed ${seed}; one run of each paradigm, so differences of a few points may be chance. Training took ${runs.map(minutes).join(', ')}.`,
      `For orientation, the published figures at 7B on the benchmarks that these tasks are small sisters of (${shared.join(' / ')}): ${figures.join('; ')}. Only their order can be compared to a miniature.`,
    ],
  };
}

const runDirectory = (output: string, run: string, seed: number): string =>
  path.join(output, 'runs', run, `seed-${seed}`);

function curves(output: string, seed: number, { sets }: Size): ReportCurve[] {
  const runs = POLICIES.slice(1).map((run) => ({
    name: nameOf(run),
    events: readEvents(path.join(runDirectory(output, run, seed), 'events.jsonl')),
  }));
  const curve = (title: string, yLabel: string, type: 'eval' | 'step', key: string, scale = 1): ReportCurve => ({
    ...{ title, yLabel },
    series: withBase(
      type,
      runs.flatMap(({ name, events }) => {
        const points = events.flatMap((event) => pointsOf(event, type, key, scale));
        return points.length === 0 ? [] : [{ name, points }];
      }),
    ),
  });
  const held: Readonly<Partial<Record<string, readonly (readonly [title: string, metric: string])[]>>> = {
    referring: [
      ['Absent objects recognised, held out', 'referring.nAcc'],
      ['IoU of present objects, held out', 'referring.presentIoU'],
    ],
    relational: [['Relational referring, held out', 'relational.gIoU']],
    defects: [['Defects, held out', 'defects.rocAuc']],
    sums: [['Sums, held out', 'sums.accuracy']],
  };
  return [
    ...sets.flatMap((set) => (held[set] ?? []).map(([title, key]) => curve(title, '%', 'eval', key))),
    curve('Reward of rollouts', 'mean', 'step', 'reward'),
    curve('Thinking in rollouts', '%', 'step', 'thinking', 100),
    curve('Labels that still teach', '%', 'step', 'labelActive', 100),
    curve('Share of the gradient from labels', '%', 'step', 'labelGradient', 100),
    curve('Entropy of rollouts', 'nats per token', 'step', 'entropy'),
    curve('Length of rollouts', 'tokens', 'step', 'length'),
  ];
}

/** Evaluations with the line of the base, which every run begins from. */
function withBase(type: 'eval' | 'step', series: ReportCurve['series']): ReportCurve['series'] {
  const [step, level] = series[0]?.points[0] ?? [];
  if (type === 'step' || step !== 0 || level === undefined) return series;
  const last = Math.max(...series.flatMap(({ points }) => points.map(([x]) => x)));
  return [
    {
      name: nameOf(POLICIES[0]),
      points: [
        [0, level],
        [last, level],
      ],
    },
    ...series,
  ];
}

function pointsOf(event: RunEvent, type: 'eval' | 'step', key: string, scale: number): (readonly [number, number])[] {
  if (event.type !== type) return [];
  const value = event.metrics[key];
  return value === undefined ? [] : [[event.step, scale * value]];
}

/** The parts that are read here of a line of the data and of a line of the answers. */
interface Asked extends DrawnQuestion {
  readonly id: string;
  readonly image: string;
  readonly set: string;
}
interface Answer {
  readonly id: string;
  readonly text: string;
  readonly boxes: readonly Box[];
  readonly points: readonly (readonly [number, number])[];
  /** What its task noted: these are the fields of tasks whose answers are right or wrong. */
  readonly evaluation: {
    readonly wellFormed: boolean;
    readonly hit?: boolean;
    readonly right?: boolean;
    readonly positive?: boolean;
    readonly score?: number;
  };
}

/** Questions in the gallery, of every kind as many. */
const SHOWN = 21;
/** Half the side of the square that a click is drawn as, in pixels. */
const CLICK = 2;

function samples(output: string, seed: number): ReportData['samples'] {
  const all = readJsonl<Asked>(dataFile(output, 'test'));
  const kinds = Map.groupBy(all, ({ set, kind }) => (set === 'referring' ? `${set} ${kind}` : set));
  const answers = POLICIES.map((policy) => {
    const file = path.join(output, 'answers', `${policy}-seed-${seed}`, 'test.jsonl');
    return { name: nameOf(policy), byId: new Map(readJsonl<Answer>(file).map((line) => [line.id, line])) };
  });
  const chosen = [...kinds.values()].flatMap((own) => own.slice(0, Math.floor(SHOWN / kinds.size)));
  return chosen.map((question) => ({
    image: path.join(output, 'data', question.image),
    question: question.prompt.replace('{Question}', question.problem),
    ...truthOf(question),
    answers: answers.flatMap(({ name, byId }) => {
      const answer = byId.get(question.id);
      return answer ? [answerOf(name, answer)] : [];
    }),
  }));
}

/** A list of boxes, or a word. */
function truthOf({ solution }: DrawnQuestion): { truth: readonly Box[]; said?: string } {
  if (!Array.isArray(solution)) return { truth: [], said: `Answer: ${String(solution)}` };
  return { truth: (solution as readonly { readonly bbox_2d: Box }[]).map(({ bbox_2d }) => bbox_2d) };
}

function answerOf(name: string, { text, boxes, points, evaluation }: Answer): ReportAnswer {
  const { wellFormed, hit, right, positive, score } = evaluation;
  const decided =
    right ??
    (points.length > 0 ? hit : undefined) ??
    (positive === undefined ? undefined : positive === (score ?? 0.5) > 0.5);
  return {
    ...{ name, text, wellFormed },
    boxes: [...boxes, ...points.map(([x, y]): Box => [x - CLICK, y - CLICK, x + CLICK, y + CLICK])],
    ...(decided !== undefined && { right: decided }),
  };
}

function readJsonl<Line>(file: string): Line[] {
  if (!existsSync(file)) return [];
  const lines = readFileSync(file, 'utf8').trim().split('\n');
  return lines.map((line) => JSON.parse(line) as Line);
}
