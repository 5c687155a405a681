/** `report.html` of a run: what it learned, from what it has written down. */
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';

import type { Config } from '../config/schema.ts';
import type { ReportAnswer, ReportColumn, ReportCurve, ReportData, ReportRow, ReportSample } from '../report/data.ts';
import { MOST_SAMPLES } from '../report/data.ts';
import { writeReport } from '../report/report.ts';
import { stepName } from '../run/checkpoint.ts';
import { readEvents, type EvalEvent, type RunEvent } from '../run/events.ts';
import type { Box, Samples } from '../types.ts';
import { linesOf } from '../regular.ts';

export interface RunStory {
  readonly config: Config;
  readonly directory: string;
  readonly validation: Samples;
  /** Of the training data. */
  readonly samples: number;
  readonly best: number | undefined;
  /** Whether pictures are shown, which takes a moment. */
  readonly shows: boolean;
}

const { version } = createRequire(import.meta.url)('../../package.json') as { version: string };

const FILE = 'report.html';

/** @returns the file */
export async function reportRun(story: RunStory): Promise<string> {
  const file = path.join(story.directory, FILE);
  await writeReport(file, tell(story, readEvents(path.join(story.directory, 'events.jsonl')), new Date()));
  return file;
}

/** Metrics by the end of their names: which way is better, and what they are. */
const METRICS: Readonly<Record<string, readonly [better: 'higher' | 'lower', definition: string]>> = {
  reward: ['higher', 'Mean over questions of the sum of weighted reward terms.'],
  gIoU: ['higher', 'Mean over questions of the IoU of the unions of boxes; 1 where nothing is there and [] is said.'],
  presentIoU: ['higher', 'The same over questions about what is there.'],
  nAcc: ['higher', 'Share of the questions about what is not there that are answered with [].'],
  tAcc: ['higher', 'Share of the questions about what is there that are not answered with [].'],
  falseEmpty: ['lower', 'Share of the questions about what is there that are answered with [].'],
  thinking: ['higher', 'Share of the answers that think before they answer.'],
  malformed: ['lower', 'Share of the answers that cannot be read.'],
  accuracy: ['higher', 'Share of the answers that are right.'],
  rocAuc: ['higher', 'Area under the ROC curve: how well marks order what is and what is not.'],
  maskIoU: ['higher', 'Mean IoU of the masks that SAM2 draws from answers.'],
  clickAccuracy: ['higher', 'Share of the points that lie in what was asked for.'],
};

const columnOf = (key: string): ReportColumn => {
  const [better, definition] = METRICS[key.slice(key.lastIndexOf('.') + 1)] ?? ['higher'];
  return { key, label: key, unit: key.endsWith('reward') ? '' : '%', better, ...(definition && { definition }) };
};

const NAMES = { base: 'before training', best: 'best', last: 'last' } as const;

function tell(story: RunStory, events: readonly RunEvent[], date: Date): ReportData {
  const { config, samples, best, shows } = story;
  const evaluations = events.filter((event) => event.type === 'eval');
  const base = evaluations.find(({ step }) => step === 0);
  const last = evaluations.findLast(({ step }) => step > 0);
  const chosen = evaluations.find(({ step }) => step === best && step > 0);
  const steps = events.findLast(({ type }) => type === 'step')?.step ?? 0;
  const origin = events.flatMap((event) => (event.type === 'start' ? [event] : []))[0];
  const rows: ReportRow[] = [
    ...(base ? [{ name: NAMES.base, metrics: base.metrics }] : []),
    ...(chosen && chosen !== last ? [{ name: `${NAMES.best}, step ${chosen.step}`, metrics: chosen.metrics }] : []),
    ...(last
      ? [
          {
            name: `${last === chosen ? `${NAMES.best} and ${NAMES.last}` : NAMES.last}, step ${last.step}`,
            metrics: last.metrics,
          },
        ]
      : []),
  ];
  const keys = [...new Set(evaluations.flatMap(({ metrics }) => Object.keys(metrics)))];
  const warnings = events.flatMap((event) =>
    event.type === 'warning' ? [`Step ${event.step}: ${event.message}`] : [],
  );
  return {
    title: path.basename(config.output),
    intro:
      `Trained with ${config.paradigm} for ${steps} of ${config.steps} steps on ${samples} samples.` +
      (base ? '' : '\n\nThere is no validation data: what it learned was not measured (data.validation).'),
    facts: [
      ['questions evaluated', String(last?.n ?? base?.n ?? 0)],
      ['date', date.toISOString().slice(0, 16).replace('T', ' ')],
      ['visurf', version],
      ...(origin?.command === undefined ? [] : [['command', origin.command] as const]),
    ],
    columns: keys.map(columnOf),
    rows,
    curves: curves(events, evaluations, base),
    samples: shows && base && last ? answered(story, { base, shown: chosen ?? last }) : [],
    notes: [...new Set(warnings)].map((each) => each.replaceAll('\n', ' ')),
  };
}

/** Metrics of steps that are drawn, with their axes. */
const DRAWN = [
  ['reward', 'Reward of rollouts', 'mean', 1],
  ['loss', 'Loss', '', 1],
  ['thinking', 'Thinking in rollouts', '%', 100],
  ['labelActive', 'Labels that still teach', '%', 100],
  ['noVariance', 'Groups whose rollouts earn the same', '%', 100],
  ['entropy', 'Entropy of rollouts', 'nats per token', 1],
  ['length', 'Length of rollouts', 'tokens', 1],
] as const;

function curves(
  events: readonly RunEvent[],
  evaluations: readonly EvalEvent[],
  base: EvalEvent | undefined,
): ReportCurve[] {
  const keys = [...new Set(evaluations.flatMap(({ metrics }) => Object.keys(metrics)))];
  const lastStep = evaluations.at(-1)?.step ?? 0;
  const held = keys.map((key): ReportCurve => {
    const points = evaluations.flatMap(({ step, metrics }) =>
      metrics[key] === undefined ? [] : [[step, metrics[key]] as const],
    );
    const level = base?.metrics[key];
    // The base as a line of its own, so that every curve shows what it began from.
    const before =
      level === undefined
        ? []
        : [
            {
              name: NAMES.base,
              points: [
                [0, level],
                [lastStep, level],
              ] as const,
            },
          ];
    return { title: `${key}, held out`, yLabel: columnOf(key).unit, series: [...before, { name: 'training', points }] };
  });
  const drawn = DRAWN.map(([key, title, yLabel, scale]): ReportCurve => {
    const points = events.flatMap((event) =>
      event.type === 'step' && event.metrics[key] !== undefined
        ? [[event.step, scale * event.metrics[key]] as const]
        : [],
    );
    return { title, yLabel, series: [{ name: 'training', points }] };
  });
  return [...held, ...drawn].filter(({ series }) => series.some(({ points }) => points.length > 0));
}

interface Line {
  readonly id: string;
  readonly text: string;
  readonly boxes: readonly Box[];
  readonly points: readonly (readonly [number, number])[];
  readonly reward?: number;
  readonly evaluation: { readonly wellFormed?: boolean; readonly right?: boolean; readonly hit?: boolean };
}

/** Questions with the answers before and after: those that changed most, for better and worse, and some others. */
function answered(
  { directory, validation }: RunStory,
  { base, shown }: { readonly base: EvalEvent; readonly shown: EvalEvent },
): ReportSample[] {
  const evaluation = (step: number) => recordsOf<Line>(path.join(directory, 'evaluations', `${stepName(step)}.jsonl`));
  const [before, after] = [evaluation(base.step), evaluation(shown.step)];
  const truths = recordsOf<Pick<Line, 'id'> & Partial<Pick<Line, 'boxes' | 'points'>>>(
    path.join(directory, 'samples.jsonl'),
  );
  const both = validation.map((sample) => ({ sample, was: before.get(sample.id), is: after.get(sample.id) }));
  const change = ({ was, is }: (typeof both)[number]): number => (is?.reward ?? 0) - (was?.reward ?? 0);
  const known = both.filter(({ sample, was, is }) => was && is && sample.images.length > 0);
  const sorted = known.toSorted((a, b) => change(b) - change(a));
  const third = MOST_SAMPLES / 3;
  const middle = Math.max(0, Math.floor(sorted.length / 2 - third / 2));
  const some = [...sorted.slice(0, third), ...sorted.slice(middle, middle + third), ...sorted.slice(-third)];
  return [...new Set(some)].map(({ sample, was, is }): ReportSample => {
    const { boxes = [], points = [] } = truths.get(sample.id) ?? {};
    const truth = [...boxes, ...points.map(squareAt)];
    const isBoxes = truth.length > 0 || sample.task === 'grounding';
    return {
      image: sample.images[0]!,
      question: sample.problem,
      truth,
      ...(!isBoxes && { said: `Answer: ${sample.solution}` }),
      answers: [answerOf(NAMES.base, was!), answerOf(`after ${shown.step} steps`, is!)],
    };
  });
}

function answerOf(name: string, { text, boxes, points, evaluation }: Line): ReportAnswer {
  const right = evaluation.right ?? evaluation.hit;
  return {
    name,
    text,
    boxes: [...boxes, ...points.map(squareAt)],
    wellFormed: evaluation.wellFormed ?? true,
    ...(right !== undefined && { right }),
  };
}

/** A point as a small square around it. */
const squareAt = ([x, y]: readonly [number, number]): Box => [x - 4, y - 4, x + 4, y + 4];

/** Lines of a file by their ids. */
function recordsOf<Own extends { readonly id: string }>(file: string): Map<string, Own> {
  const records = new Map<string, Own>();
  for (const line of existsSync(file) ? linesOf(file) : []) {
    const record = JSON.parse(line ?? '') as Own;
    records.set(record.id, record);
  }
  return records;
}
