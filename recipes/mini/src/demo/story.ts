/** What the demo's report says: from the files of the demo to the report's plain data. */
import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import {
  readEvents,
  type Box,
  type ReportAnswer,
  type ReportCurve,
  type ReportData,
  type RunEvent,
} from '@visurf/core';

import { RUNS } from './plan.ts';

export interface Row {
  readonly name: string;
  readonly metrics: Readonly<Record<string, number>>;
}

/** What the table shows, in percent. */
export const COLUMNS = [
  { key: 'gIoU', label: 'gIoU', unit: '%', better: 'higher' },
  { key: 'presentIoU', label: 'IoU, present', unit: '%', better: 'higher' },
  { key: 'nAcc', label: 'N-Acc', unit: '%', better: 'higher' },
  { key: 'falseEmpty', label: 'False [ ]', unit: '%', better: 'lower' },
  { key: 'thinking', label: 'Thinking', unit: '%', better: 'higher' },
  { key: 'malformed', label: 'Malformed', unit: '%', better: 'lower' },
] as const;

/** Samples of each kind, present and absent, in the gallery. */
const SHOWN = 6;

export interface Story {
  readonly directory: string;
  readonly rows: readonly Row[];
  /** Metrics of the base on the validation split: where the curves begin. */
  readonly validation: Readonly<Record<string, number>>;
  readonly steps: number;
  readonly questions: Readonly<Record<'train' | 'test', number>>;
  readonly seed: number;
  readonly seconds: Readonly<Record<string, number>>;
}

export function tell({ directory, rows, validation, steps, questions, seed, seconds }: Story): ReportData {
  const minutes = (stage: string): string => `${((seconds[stage] ?? 0) / 60).toFixed(1)} minutes`;
  return {
    title: 'Can it say that nothing matches?',
    intro: [
      `A small vision-language model (Qwen2.5-VL's architecture, 1.5 million parameters) answers ${questions.test} questions about pictures it has never seen. Half of them ask for an object that is there, half for one that is not; then the right answer is an empty list, which the base model never gives.`,
      `RLVR and ViSurf start from the same base and make ${steps} updates with the same settings. RLVR learns from its own answers alone. ViSurf also learns from the label, where no answer of its own is as good.`,
    ].join('\n\n'),
    columns: COLUMNS,
    rows,
    curves: curves(directory, validation),
    samples: samples(directory, ['base', ...RUNS.map(({ directory: name }) => name)]),
    notes: [
      'gIoU: mean over all questions of the overlap (intersection over union) of predicted and true boxes; a question about an absent object counts 100 for a well-formed [] and 0 for anything else. IoU, present: the same over present objects alone. N-Acc: share of absent objects answered by a well-formed []. False [ ]: share of present objects answered so. Thinking: share of answers that think before they answer.',
      `Answers are greedy. The pictures show the first ${SHOWN} questions of each kind, not chosen ones. Held-out curves are measured on a validation split of its own; the table on a test split that training never reads.`,
      `Seed ${seed}, ${questions.train} training questions; one run of each paradigm, so differences of a few points may be chance. Training took ${RUNS.map(({ name }) => `${minutes(`train ${name}`)} for ${name}`).join(', ')}.`,
      'For orientation, the published figures at 7B on gRefCOCO (gIoU, N-Acc): base 33.4 and 1.8, RLVR 42.8 and 0.0, ViSurf 66.6 and 57.1. Only their order can be compared to a miniature; and rows of the published table may come from different checkpoints per benchmark.',
    ],
  };
}

function curves(directory: string, validation: Story['validation']): ReportCurve[] {
  const runs = RUNS.map((run) => ({
    name: run.name,
    events: readEvents(path.join(directory, run.directory, 'events.jsonl')),
  }));
  const curve = (title: string, yLabel: string, type: 'eval' | 'step', key: string, scale = 1): ReportCurve => ({
    ...{ title, yLabel },
    series: runs.flatMap(({ name, events }) => {
      const start = type === 'eval' ? validation[key] : undefined;
      const points = events.flatMap((event) => pointsOf(event, type, key, scale));
      return points.length === 0
        ? []
        : [{ name, points: start === undefined ? points : [[0, start] as const, ...points] }];
    }),
  });
  return [
    curve('N-Acc, held out', '%', 'eval', 'nAcc'),
    curve('gIoU, held out', '%', 'eval', 'gIoU'),
    curve('IoU of present objects, held out', '%', 'eval', 'presentIoU'),
    curve('Reward of rollouts', 'mean', 'step', 'reward'),
    curve('Thinking in rollouts', '%', 'step', 'thinking', 100),
    curve('Labels that still teach', '%', 'step', 'labelActive', 100),
    curve('Share of the gradient from labels', '%', 'step', 'labelGradient', 100),
    curve('Entropy of rollouts', 'nats per token', 'step', 'entropy'),
    curve('Length of rollouts', 'tokens', 'step', 'length'),
  ];
}

function pointsOf(event: RunEvent, type: 'eval' | 'step', key: string, scale: number): (readonly [number, number])[] {
  if (event.type !== type) return [];
  const value = event.metrics[key];
  return value === undefined ? [] : [[event.step, scale * value]];
}

/** The parts that are read here of a line of the data and of a line of an evaluation. */
interface Question {
  readonly id: string;
  readonly image: string;
  readonly problem: string;
  readonly solution: readonly { readonly bbox_2d: Box }[];
}
interface Answer {
  readonly id: string;
  readonly text: string;
  readonly boxes: readonly Box[];
  readonly evaluation: { readonly wellFormed: boolean };
}

/** The first questions of each kind with the answers of every policy, one kind after the other in turn. */
function samples(directory: string, policies: readonly string[]): ReportData['samples'] {
  const data = path.join(directory, 'data');
  const all = readJsonl<Question>(path.join(data, 'test.jsonl'));
  const [present, absent] = [true, false].map((there) => all.filter(({ solution }) => solution.length > 0 === there));
  const chosen = Array.from({ length: SHOWN }, (_, i) => [present?.[i], absent?.[i]]).flat();
  const answers = policies.map((policy) => {
    const name = RUNS.find((run) => run.directory === policy)?.name ?? policy;
    const lines = readJsonl<Answer>(path.join(directory, 'eval', `${policy}.jsonl`));
    return { name, byId: new Map(lines.map((line) => [line.id, line])) };
  });
  return chosen.flatMap((question) => {
    if (!question) return [];
    const given = answers.flatMap(({ name, byId }): ReportAnswer[] => {
      const answer = byId.get(question.id);
      if (!answer) return [];
      return [{ name, text: answer.text, boxes: answer.boxes, wellFormed: answer.evaluation.wellFormed }];
    });
    const truth = question.solution.map(({ bbox_2d }) => bbox_2d);
    return [{ image: path.join(data, question.image), question: question.problem, truth, answers: given }];
  });
}

function readJsonl<Line>(file: string): Line[] {
  if (!existsSync(file)) return [];
  const lines = readFileSync(file, 'utf8').trim().split('\n');
  return lines.map((line) => JSON.parse(line) as Line);
}
