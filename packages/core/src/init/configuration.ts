/** A configuration whose every line is chosen for the data, the base and the machine, and says why. */
import type { PixelArea } from '../model/images.ts';
import path from 'node:path';
import { stringify } from 'yaml';
import { isHubId } from '../hub/id.ts';
import { fullRate } from '../plan/rate.ts';
import type { Advice } from './advice.ts';
import type { Probe } from './probe.ts';
import type { Survey } from './survey.ts';

/** How weights are trained: from what is best to what needs least memory. */
export interface Way {
  readonly lora: boolean;
  readonly microBatch: number;
  readonly recomputes: boolean;
}

export const WAYS: readonly Way[] = [
  { lora: false, microBatch: 4, recomputes: false },
  { lora: false, microBatch: 1, recomputes: true },
  { lora: true, microBatch: 4, recomputes: false },
  { lora: true, microBatch: 1, recomputes: true },
];

export interface Chosen {
  readonly model: string;
  /** Folder that the file is for. */
  readonly folder: string;
  /** Name of the set. */
  readonly name: string;
  readonly samples: number;
  readonly validation: number;
  readonly parameters: number;
  readonly device: string;
  readonly precision: string;
  readonly way: Way;
  readonly survey: Survey;
  readonly probe: Probe | undefined;
  readonly advice: Advice;
  /** Areas of images that the base's own files allow. */
  /** Undefined of a base that shows pictures in a way of its own. */
  readonly limits: PixelArea | undefined;
  /** Tokens of a prompt with its answer, at most; undefined where the base does not say. */
  readonly positions: number | undefined;
  readonly prompt: string | undefined;
  readonly system: string | undefined;
  readonly allowOutside: boolean;
}

/** A key, its value, why. */
type Line = readonly [key: string, value: unknown, why: string];

/** Pictures beyond this area cost more than they show, as a rule. */
const LARGE = 1280 * 784;

const percent = (share: number): string => `${Math.round(100 * share)}%`;

/** What is decided, in the order of the file. */
export function linesOf(chosen: Chosen): Line[] {
  const { advice, survey, samples, validation, device, precision } = chosen;
  const prompts = samples >= 640 ? 32 : samples >= 160 ? 16 : 8;
  const steps = Math.min(300, Math.max(60, Math.round((2 * samples) / prompts)));
  const passes = ((steps * prompts) / samples).toPrecision(2);
  const every = Math.max(1, Math.round(steps / 6));
  return [
    ['model', modelOf(chosen), `the base, ${millions(chosen.parameters)} parameters`],
    ['output', `runs/${chosen.name}`, 'the run: checkpoints, every rollout, report.html'],
    ['device', device, device === 'cpu' ? 'no GPU was found here' : 'the GPU of this machine'],
    ['precision', precision, precisionWhy(precision, chosen)],
    ['data.train', 'train.jsonl', `${samples} samples on ${survey.images} pictures`],
    ['data.validation', 'validation.jsonl', `${validation} samples that share no picture with training`],
    ...(chosen.allowOutside ? [['data.allowOutside', true, 'its pictures lie outside of this folder'] as Line] : []),
    ...(chosen.prompt === undefined ? [] : [['data.prompt', chosen.prompt, 'the user turn'] as Line]),
    ...(chosen.system === undefined ? [] : [['data.system', chosen.system, 'the system turn'] as Line]),
    ...pixelLines(chosen),
    ...taskLines(survey),
    ['paradigm', advice.paradigm, `${advice.why}.`],
    ['steps', steps, `${passes} passes over the samples`],
    ...(advice.paradigm === 'sft-then-rlvr'
      ? [['sftSteps', Math.round(steps / 3), 'supervised steps before those by reward'] as Line]
      : []),
    ['promptsPerStep', prompts, 'a batch that is neither most of the data nor too noisy'],
    ...rolloutLines(chosen),
    ...optimizerLines(chosen, steps),
    ...trainLines(chosen.way),
    ['eval.every', every, 'six evaluations, beside those before the first step and after the last'],
    ...(validation > 200 ? [['eval.limit', 200, `of ${validation}: enough to see where it goes`] as Line] : []),
    ['eval.patience', 3, 'ends where three evaluations in a row are no better'],
    ['checkpoint.every', every, 'with the evaluations'],
  ];
}

/** As the file has it: a model of the hub by its name, a directory by the way to it where both may move together. */
function modelOf({ model, folder }: Chosen): string {
  const file = path.resolve(model);
  if (isHubId(model, file)) return model;
  const isNear = file.split(path.sep)[1] === path.resolve(folder).split(path.sep)[1];
  return isNear ? path.relative(folder, file).replace(/^(?!\.\.?(\/|$))/, './') : file;
}

const millions = (count: number): string =>
  count < 1e9 ? `${(count / 1e6).toFixed(1)} million` : `${(count / 1e9).toFixed(2)} billion`;

/** Models below gain nothing from half precision. */
export const SMALL = 3e7;

function precisionWhy(precision: string, { device, parameters }: Chosen): string {
  if (precision === 'bfloat16') return 'products in bfloat16, master weights in float32';
  if (parameters < SMALL) return 'exact: so small a model gains nothing from bfloat16';
  return device === 'cpu' ? 'bfloat16 is no faster on this processor' : 'exact';
}

function pixelLines({ survey, limits }: Chosen): Line[] {
  const greatest = survey.area[4];
  if (!Number.isFinite(greatest)) return [];
  const wanted = Math.min(Math.ceil(greatest), LARGE);
  if (!limits || wanted >= limits.maxPixels) return [];
  const most = Math.max(wanted, limits.minPixels);
  const why =
    greatest > LARGE
      ? `the largest picture has ${greatest}: more costs memory; raise it where objects are small`
      : 'the largest picture of the set; the base would take more';
  return [['data.maxPixels', most, why]];
}

/** Thresholds of the reward that fit the size of the objects. */
function taskLines({ boxes }: Survey): Line[] {
  const [, lower] = boxes.side;
  if (boxes.n === 0 || lower >= 100) return [];
  const error = Math.max(3, Math.round(lower / 10));
  const why = `pixels of error below which a box is exact: a quarter of the objects is smaller than ${Math.round(lower)} px`;
  return [['task.boxError', error, why]];
}

function rolloutLines({ advice, probe, positions = Infinity }: Chosen): Line[] {
  const wanted = longest(probe);
  // Half of them are left to the prompt.
  const room = Math.max(16, Math.floor(positions / 32) * 16);
  const isCut = wanted.most > room;
  const most = isCut ? room : wanted.most;
  const why = isCut ? `${wanted.why}; the base has ${positions} positions for prompt and answer` : wanted.why;
  return [
    ...(advice.paradigm === 'sft' ? [] : [['rollout.group', 8, 'answers per question, G'] as Line]),
    ['rollout.maxNewTokens', most, why],
  ];
}

function longest(probe: Probe | undefined): { most: number; why: string } {
  if (!probe || probe.cutOff > 0.3 || !Number.isFinite(probe.length)) {
    const label = probe && `; the longest label has ${probe.labelLength}`;
    const why = probe
      ? `${percent(probe.cutOff)} of the answers did not end${label}`
      : 'the base was not asked how long its answers are';
    return { most: Math.max(512, 2 * (probe?.labelLength ?? 0)), why };
  }
  const needed = Math.max(1.5 * probe.length, 1.5 * probe.labelLength, 32);
  const why = `19 of 20 answers of the base end by ${probe.length} tokens, the longest label has ${probe.labelLength}`;
  return { most: Math.ceil(needed / 16) * 16, why };
}

function optimizerLines({ way, advice, parameters }: Chosen, steps: number): Line[] {
  const base = fullRate(parameters);
  const rate = Math.min(1e-3, base * (way.lora ? 10 : 1) * (advice.paradigm === 'sft' ? (base > 1e-4 ? 3 : 10) : 1));
  const what = way.lora ? 'of adapters: ten times that of all weights' : `of all weights of a model of this size`;
  return [
    ['optimizer.learningRate', Number(rate.toPrecision(2)), what],
    ['optimizer.warmupSteps', Math.round(Math.min(10, steps / 10)), 'the first batches say little'],
    ['optimizer.decay', 'linear', 'without it the last steps undo what was learned'],
    ['optimizer.floor', 0.05, 'of the learning rate, at the end'],
  ];
}

function trainLines({ lora, microBatch, recomputes }: Way): Line[] {
  return [
    ...(lora ? [['train.lora.rank', 16, 'adapters: all weights would not fit in memory'] as Line] : []),
    ['train.microBatch.prompts', microBatch, 'at once in memory; changes no number but rounding'],
    ...(recomputes ? [['train.checkpointActivations', true, 'a third more time for far less memory'] as Line] : []),
  ];
}

/** YAML with a comment above every key. @param heading lines of the first comment */
export function yamlOf(lines: readonly Line[], heading: readonly string[]): string {
  const out = heading.map((each) => `# ${each}`);
  let open: string[] = [];
  for (const [key, value, why] of lines) {
    const parts = key.split('.');
    const sections = parts.slice(0, -1);
    let shared = 0;
    while (shared < sections.length && sections[shared] === open[shared]) shared += 1;
    if (shared === 0) out.push('');
    for (let depth = shared; depth < sections.length; depth++) out.push(`${'  '.repeat(depth)}${sections[depth]!}:`);
    open = sections;
    const indent = '  '.repeat(sections.length);
    out.push(...wrapped(why, 110 - indent.length).map((text) => `${indent}# ${text}`));
    const written = stringify({ [parts.at(-1)!]: value }, { lineWidth: 0 }).trimEnd();
    out.push(...written.split('\n').map((text) => indent + text));
  }
  return `${out.join('\n')}\n`;
}

function wrapped(text: string, width: number): string[] {
  const lines = [''];
  for (const word of text.split(/\s+/)) {
    const last = lines.at(-1)!;
    if (last === '') lines[lines.length - 1] = word;
    else if (last.length + 1 + word.length <= width) lines[lines.length - 1] = `${last} ${word}`;
    else lines.push(word);
  }
  return lines;
}
