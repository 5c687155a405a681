/**
 * OmniACT: a task on a screen, answered by a script of pyautogui. Official: sequence and action score of the script; an
 * answer that is a point is the script of one click. visurf: tasks of one click on one box, hit by any point of the
 * answer.
 *
 * Action Score = sum over w max(0, seq - M - K - W) / sum over w, with w = k - 0.9 for k gold lines, seq = 1 where the
 * names of all actions are those of the gold script, and penalties per line, divided by k: M of clicks, 1 - mu / (d +
 * mu) with the distance d to the box and its diagonal mu; K of keys that differ; W of what is written, 1 - BLEU-2 over
 * characters. Names are lower-cased, so that only `click` is scored by its place, as published.
 */
import { existsSync } from 'node:fs';
import path from 'node:path';
import { z } from 'zod';
import { contains } from '../tasks/grounding/geometry.ts';
import type { Box, Point } from '../types.ts';
import { percent, ratio, unparsable, type Benchmark, type Item, type LoadOptions, type Marks } from './benchmark.ts';
import { markClick } from './clicks.ts';
import { checked, inside, parseJson, readAnnotations, readText, requirePlace } from './files.ts';
import { publishedQuestion } from './referring.ts';

export interface Action {
  readonly name: string;
  /** What stands between the brackets. */
  readonly argument: string;
}

const LINE = /^pyautogui\.(\w+)\((.*)\)\s*$/s;

/** The lines of a script that call pyautogui, in lower case. */
export function readScript(text: string): Action[] {
  return text
    .toLowerCase()
    .split('\n')
    .flatMap((line) => {
      const found = LINE.exec(line.trim());
      return found ? [{ name: found[1]!, argument: found[2]! }] : [];
    });
}

const numbersIn = (text: string): number[] => (text.match(/-?\d+(?:\.\d+)?(?:e[+-]?\d+)?/g) ?? []).map(Number);

const placeOf = ({ argument }: Action): Point | undefined => {
  const [x, y] = numbersIn(argument);
  return x === undefined || y === undefined ? undefined : [x, y];
};

/** Texts in quotes. */
const textsIn = ({ argument }: Action): string[] =>
  [...argument.matchAll(/"((?:[^"\\]|\\.)*)"|'((?:[^'\\]|\\.)*)'/gs)].map((match) => match[1] ?? match[2] ?? '');

const centre = ([x0, y0, x1, y1]: Box): Point => [(x0 + x1) / 2, (y0 + y1) / 2];

/** The gold script names the exact centre of its box. */
const boxAt = (place: Point | undefined, boxes: readonly Box[]): Box | undefined =>
  boxes.find((box) => centre(box).every((value, i) => value === place?.[i]));

/** 1 - mu / (d + mu); 0 inside. */
export function clickPenalty(point: Point | undefined, box: Box): number {
  if (point === undefined) return 1;
  if (contains(box, point)) return 0;
  const beyond = (value: number, low: number, high: number): number => Math.max(low - value, 0, value - high);
  const distance = Math.hypot(beyond(point[0], box[0], box[2]), beyond(point[1], box[1], box[3]));
  const diagonal = Math.hypot(box[2] - box[0], box[3] - box[1]);
  return 1 - diagonal / (distance + diagonal);
}

const counted = (items: readonly string[]): Map<string, number> =>
  new Map([...Map.groupBy(items, (item) => item)].map(([item, own]) => [item, own.length]));

/** 1 - BLEU-2 over characters, as nltk computes it without smoothing. */
export function writePenalty(gold: string, said: string): number {
  const [reference, candidate] = [Array.from(gold), Array.from(said)];
  const precision = (n: number): number => {
    const grams = (of: readonly string[]): string[] => of.slice(n - 1).map((_, i) => of.slice(i, i + n).join(''));
    const [own, known] = [counted(grams(candidate)), counted(grams(reference))];
    const shared = [...own].reduce((sum, [gram, count]) => sum + Math.min(count, known.get(gram) ?? 0), 0);
    return shared / Math.max(1, candidate.length - n + 1);
  };
  const brevity =
    candidate.length > reference.length
      ? 1
      : candidate.length === 0
        ? 0
        : Math.exp(1 - reference.length / candidate.length);
  return 1 - brevity * Math.sqrt(precision(1) * precision(2));
}

export interface ScriptMark {
  /** k - 0.9. */
  readonly weight: number;
  readonly sequence: 0 | 1;
  /** max(0, seq - penalties). */
  readonly action: number;
}

export function markScript(said: readonly Action[], gold: readonly Action[], boxes: readonly Box[]): ScriptMark {
  const isSame = said.length === gold.length && gold.every(({ name }, i) => said[i]!.name === name);
  const penalties = isSame ? gold.map((action, i) => penaltyOf(action, said[i]!, boxes) / gold.length) : [];
  const action = Number(isSame) - penalties.reduce((sum, each) => sum + each, 0);
  return { weight: gold.length - 0.9, sequence: isSame ? 1 : 0, action: Math.max(0, action) };
}

function penaltyOf(gold: Action, said: Action, boxes: readonly Box[]): number {
  switch (gold.name) {
    case 'click': {
      const box = boxAt(placeOf(gold), boxes);
      return box ? clickPenalty(placeOf(said), box) : 0;
    }
    case 'press':
    case 'hotkey': {
      const [own, other] = [new Set(textsIn(gold)), new Set(textsIn(said))];
      return Number(own.symmetricDifference(other).size > 0);
    }
    case 'write':
    case 'typewrite':
      return writePenalty(textsIn(gold)[0] ?? '', textsIn(said)[0] ?? '');
    default:
      return 0;
  }
}

/** Sums of weight times mark over sums of weight, in percent. */
export const scriptScores = (
  marks: readonly ScriptMark[],
): { sequenceScore: number | null; actionScore: number | null } => {
  const total = (value: (mark: ScriptMark) => number): number =>
    marks.reduce((sum, mark) => sum + mark.weight * value(mark), 0);
  const weight = total(() => 1);
  return {
    sequenceScore: ratio(
      total(({ sequence }) => sequence),
      weight,
    ),
    actionScore: ratio(
      total(({ action }) => action),
      weight,
    ),
  };
};

const corner = z.tuple([z.number(), z.number()]);
const boxesSchema = z.record(z.string(), z.looseObject({ top_left: corner, bottom_right: corner }));
const indexSchema = z.record(z.string(), z.looseObject({ task: z.string(), image: z.string(), box: z.string() }));

export interface OmniactTruth {
  readonly script: readonly Action[];
  readonly boxes: readonly Box[];
  /** The box of a task that is one click on one box. */
  readonly target: Box | undefined;
}

type OmniactMarks = Marks & Partial<ScriptMark> & { readonly hit: boolean | undefined };

const SOURCE = { name: 'OmniACT', download: 'Writer/omniact from the Hugging Face hub, data.zip unpacked' };

function load(folder: string, { split, protocol }: LoadOptions): Item<OmniactTruth>[] {
  const index = requirePlace(folder, [`${split}.json`], SOURCE);
  requirePlace(folder, ['data'], SOURCE);
  return Object.entries(readAnnotations(index, indexSchema)).map(([id, { task, image, box }]): Item<OmniactTruth> => {
    const [taskFile, boxFile] = [task, box].map((place) => inside(folder, place, index));
    for (const file of [taskFile!, boxFile!])
      if (!existsSync(file)) requirePlace(folder, [path.relative(path.resolve(folder), file)], SOURCE);
    const text = readText(taskFile!);
    const boxes = Object.values(checked(parseJson(readText(boxFile!), boxFile!), boxesSchema, boxFile!)).map(
      ({ top_left: from, bottom_right: to }): Box => [...from, ...to],
    );
    const script = readScript(text);
    const target = script.length === 1 && script[0]!.name === 'click' ? boxAt(placeOf(script[0]!), boxes) : undefined;
    const question = /^\s*Task:\s*(.*)/i.exec(text)?.[1]?.trim() ?? '';
    return {
      id,
      images: [inside(folder, image, index)],
      problem: protocol === 'visurf' ? publishedQuestion(question) : question,
      truth: { script, boxes, target },
    };
  });
}

export const omniact: Benchmark<OmniactTruth, OmniactMarks> = {
  name: 'omniact',
  splits: ['test', 'val', 'train'],
  task: () => 'click',
  load: (folder, options) => Promise.resolve().then(() => load(folder, options)),
  mirrored({ box = [0, 0, 0, 0] }) {
    return { script: [{ name: 'click', argument: centre(box).join(', ') }], boxes: [box], target: box };
  },
  asks: ({ target }, protocol) => protocol === 'official' || target !== undefined,
  mark(said, { script, boxes, target }, protocol) {
    const click = target && markClick(said, target, protocol);
    if (protocol === 'visurf') return { hit: click?.hit, parsed: click?.parsed ?? false };
    const actions = actionsOf(said, boxes[0] ?? [0, 0, 0, 0]);
    const [first] = actions;
    const place = first?.name === 'click' ? placeOf(first) : undefined;
    const hit = target && place !== undefined && contains(target, place);
    return { ...markScript(actions, script, boxes), hit, parsed: actions.length > 0 };
  },
  summarise(marks, protocol) {
    const clicks = marks.flatMap(({ hit }) => (hit === undefined ? [] : [hit]));
    const accuracy = percent(clicks, (hit) => hit);
    if (protocol === 'visurf') {
      const notes = [
        'Of the official test split the tasks of one click whose centre is that of a box; how the published 1,804 were chosen is ' +
          'not known. Any point of an answer may hit.',
      ];
      return { metrics: { accuracy, unparsable: unparsable(marks) }, notes };
    }
    const notes = [
      'An answer without lines of pyautogui counts as one click at its first point; accuracy is over the tasks of one click.',
    ];
    return {
      metrics: { ...scriptScores(marks as readonly ScriptMark[]), accuracy, unparsable: unparsable(marks) },
      notes,
    };
  },
};

/** The script that was said, or one click where the answer points. */
function actionsOf(said: Parameters<typeof markClick>[0], anywhere: Box): Action[] {
  const script = readScript(said.text.replace(/<\/?answer>/g, '\n'));
  if (script.length > 0) return script;
  const { point } = markClick(said, anywhere, 'official');
  return point ? [{ name: 'click', argument: point.join(', ') }] : [];
}
