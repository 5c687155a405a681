/**
 * A dataset is a source of any format that `formats/` reads; in our own, a JSONL file: one sample a line, `image` (a path or a list of them, relative to the file), `problem`,
 * `solution` (text or any JSON), optional `thinking` (the reasoning that leads to the solution), `task` and `id`, and
 * whatever else.
 *
 * Everything is checked before anything is used: every line, every image (decoded to the last byte), every solution.
 * What is wrong comes in one list.
 */
import path from 'node:path';
import { messageOf, UserError } from '../errors.ts';
import { decodeImage, IMAGE_LIMITS, type ImageLimits, type Pixels } from '../prompt/decode.ts';
import { placeFault, withoutLeadingPlaces } from '../prompt/places.ts';
import type { Frame, Sample } from '../types.ts';
import { taskNames } from '../tasks/registry.ts';
import { thinkingFault } from '../tasks/thinking.ts';
import { isOurLines, readRows, type RowOptions } from './formats/formats.ts';
import { emptyFinding, unusable, type Finding } from './findings.ts';
import { readLines } from './lines.ts';
import { boxesIn, implausible, labelKind, type Boxed } from './plausible.ts';

export interface DataLimits extends ImageLimits {
  readonly maxLineBytes: number;
  readonly maxSamples: number;
}

const LIMITS: DataLimits = { ...IMAGE_LIMITS, maxLineBytes: 4 * 2 ** 20, maxSamples: 10_000_000 };

/** Images decoded at the same time. */
const CHECKED_AT_ONCE = 4;

export interface DatasetOptions extends Pick<RowOptions, 'format' | 'boxes' | 'units' | 'split' | 'ask'> {
  /** Task of samples that name none. */
  readonly task: string;
  /** Makes, from all samples, what reads a solution; a UserError it throws is that sample's fault. */
  readonly truths?: ((samples: readonly Sample[]) => TruthReader) | undefined;
  /** Only so many samples, from the start of the file. */
  readonly limit?: number | undefined;
  readonly limits?: Partial<DataLimits> | undefined;
  /** Hears how a set of another format was read. */
  readonly onNote?: ((message: string) => void) | undefined;
  /** Sees the pixels of every image once. */
  readonly onPixels?: ((file: string, pixels: Pixels) => void) | undefined;
  /** Called as images are checked. */
  readonly onProgress?: ((checked: number, total: number) => void) | undefined;
}

/** The part of a task that checks solutions. */
export interface TruthReader {
  parseTruth(sample: Sample, frames?: readonly Frame[]): unknown;
}

/** A dataset as it was read, whatever is wrong with it. */
export interface ReadDataset {
  /** Of every line that is a sample, also where its image or its label cannot be used. */
  readonly samples: readonly Sample[];
  readonly findings: readonly Finding[];
  /** Sizes of the images that could be read, by file. */
  readonly frames: ReadonlyMap<string, Frame>;
}

/**
 * @example const samples = await loadDataset('train.jsonl', { task: 'grounding' });
 * @throws UserError that lists the bad samples by file:line and id, or says that there are none at all
 */
export async function loadDataset(file: string, options: DatasetOptions): Promise<Sample[]> {
  const { samples, findings } = await readDataset(file, options);
  const error = unusable(findings);
  if (error) throw error;
  return [...samples];
}

/** @throws UserError where the file itself cannot be read */
export async function readDataset(file: string, options: DatasetOptions): Promise<ReadDataset> {
  const limits = { ...LIMITS, ...options.limits };
  const { samples, findings } = await readSamples(file, options, limits);
  if (samples.length === 0 && findings.length === 0) findings.push(emptyFinding(file));
  const images = await checkImages(samples, limits, options);
  findings.push(...images.findings);
  if (samples.length > 0) findings.push(...solutionFindings(samples, images.frames, options));
  findings.push(...implausible(file, boxed(samples, images.frames)));
  return { samples, findings, frames: images.frames };
}

/** Samples that show one image, which could be read. */
const boxed = (samples: readonly Sample[], frames: ReadonlyMap<string, Frame>): Boxed[] =>
  samples.flatMap((sample) => {
    const frame = frames.get(sample.images[0]!);
    return frame && sample.images.length === 1 ? [{ sample, frame, boxes: boxesIn(sample) }] : [];
  });

const errorIn = (sample: Sample, kind: Finding['kind'], message: string): Finding => {
  const { id, source } = sample;
  return { kind, severity: 'error', file: source.file, line: source.line, message, id };
};

/** The samples of a file as far as they can be read; nothing is checked, and what cannot be read is left out. */
export async function peekSamples(file: string, options: DatasetOptions): Promise<Sample[]> {
  return (await readSamples(file, options, LIMITS)).samples;
}

async function readSamples(
  file: string,
  options: DatasetOptions,
  limits: DataLimits,
): Promise<{ samples: Sample[]; findings: Finding[] }> {
  const samples: Sample[] = [];
  const findings: Finding[] = [];
  const lineOfId = new Map<string, number>();
  const isOurs = await isOurLines(file, options);
  for await (const read of isOurs ? lineSamples(file, options, limits) : rowSamples(file, options)) {
    if (samples.length >= (options.limit ?? Infinity)) break;
    if ('kind' in read) {
      findings.push(read);
      continue;
    }
    const { sample } = read;
    const first = lineOfId.get(sample.id);
    if (first !== undefined) findings.push(errorIn(sample, 'id', `same id as line ${first}`));
    lineOfId.set(sample.id, first ?? sample.source.line);
    samples.push(sample);
    if (samples.length > limits.maxSamples)
      throw new UserError(`more than ${limits.maxSamples} samples`, { where: file });
  }
  return { samples, findings };
}

type Read = { readonly sample: Sample } | Finding;

const readOf = (sample: Sample | string, { file, line }: Sample['source']): Read =>
  typeof sample === 'string' ? { kind: 'row', severity: 'error', file, line, message: sample } : { sample };

/** Lines of our own JSONL. */
async function* lineSamples(file: string, { task }: DatasetOptions, limits: DataLimits): AsyncGenerator<Read> {
  for await (const { number, text, fault } of readLines(file, limits.maxLineBytes)) {
    if (text?.trim() === '') continue;
    const source = { file, line: number };
    yield readOf(text === undefined ? (fault ?? '') : parseSample(text, source, task), source);
  }
}

/** Records of any other format. */
async function* rowSamples(file: string, options: DatasetOptions): AsyncGenerator<Read> {
  const { rows, findings, notes } = await readRows(file, options);
  for (const note of notes) options.onNote?.(`${file}: ${note}`);
  yield* findings;
  for (const { place, fields } of rows) {
    const source = { file: place.file, line: place.record };
    yield readOf(sampleOf(fields, source, options.task), source);
  }
}

/** The sample of a line, or what is wrong with it. */
export function parseSample(text: string, source: Sample['source'], defaultTask: string): Sample | string {
  try {
    return sampleOf(JSON.parse(text), source, defaultTask);
  } catch (error) {
    return `malformed JSON: ${messageOf(error)}`;
  }
}

/** The sample of a record in the fields of our JSONL, or what is wrong with it. */
export function sampleOf(value: unknown, source: Sample['source'], defaultTask: string): Sample | string {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return 'not a JSON object';
  const { image, problem, solution, thinking, task, id, ...extra } = value as Record<string, unknown>;
  const images = Array.isArray(image) ? (image as unknown[]) : [image];
  if (image === undefined) return 'missing field image';
  if (images.length === 0 || !images.every((item) => typeof item === 'string' && item !== '')) {
    return 'image must be a path, or a list of paths';
  }
  if (problem === undefined) return 'missing field problem';
  if (typeof problem !== 'string' || problem.trim() === '') return 'problem must be a text that is not empty';
  if (solution === undefined || solution === null) return 'missing field solution';
  const asked = withoutLeadingPlaces(problem);
  if (asked.trim() === '') return 'problem must be a text that is not empty';
  const fault = placeFault(problem, images.length) ?? (thinking === undefined ? undefined : thinkingFault(thinking));
  if (fault !== undefined) return fault;
  if (task !== undefined && typeof task !== 'string') return 'task must be a name';
  if (id !== undefined && typeof id !== 'string' && typeof id !== 'number') return 'id must be a text or a number';
  const folder = path.dirname(path.resolve(source.file));
  return {
    id: id === undefined ? `line-${source.line}` : String(id),
    images: (images as string[]).map((item) => path.resolve(folder, item)),
    problem: asked,
    solution: typeof solution === 'string' ? solution : JSON.stringify(solution),
    ...(thinking !== undefined && { thinking: thinking as string }),
    task: task ?? defaultTask,
    extra,
    source,
  };
}

/** Decodes every image once; a bad one is a fault of each sample that has it. */
async function checkImages(
  samples: readonly Sample[],
  limits: DataLimits,
  { onPixels, onProgress }: Pick<DatasetOptions, 'onPixels' | 'onProgress'>,
): Promise<{ frames: Map<string, Frame>; findings: Finding[] }> {
  const files = [...new Set(samples.flatMap(({ images }) => images))];
  const frames = new Map<string, Frame>();
  const reasons = new Map<string, string>();
  let next = 0;
  let checked = 0;
  const worker = async () => {
    for (let file = files[next++]; file !== undefined; file = files[next++]) {
      try {
        const pixels = await decodeImage(file, limits);
        const { width, height } = pixels;
        onPixels?.(file, pixels);
        frames.set(file, { width, height, modelWidth: width, modelHeight: height });
      } catch (error) {
        reasons.set(file, reasonOf(error, file));
      }
      onProgress?.(++checked, files.length);
    }
  };
  await Promise.all(Array.from({ length: CHECKED_AT_ONCE }, worker));
  const findings = samples.flatMap((sample) =>
    sample.images.flatMap((file) => {
      const reason = reasons.get(file);
      return reason === undefined ? [] : [errorIn(sample, 'image', reason)];
    }),
  );
  return { frames, findings };
}

function solutionFindings(
  samples: readonly Sample[],
  frames: ReadonlyMap<string, Frame>,
  { truths }: DatasetOptions,
): Finding[] {
  const tasks = new Set(taskNames());
  const reader = truths?.(samples);
  return samples.flatMap((sample) => {
    if (!tasks.has(sample.task)) {
      return [errorIn(sample, 'task', `there is no task ${sample.task}: choose one of ${[...tasks].join(', ')}`)];
    }
    const known = sample.images.flatMap((file) => frames.get(file) ?? []);
    try {
      reader?.parseTruth(sample, known.length === sample.images.length ? known : undefined);
      return [];
    } catch (error) {
      const [one] = boxed([sample], frames);
      const { kind, hint } = one ? labelKind(one) : { kind: 'label' as const, hint: undefined };
      return [errorIn(sample, kind, hint ? `${reasonOf(error)}; ${hint}` : reasonOf(error))];
    }
  });
}

/** What a UserError says, without its own place; anything else is a bug and thrown on. */
function reasonOf(error: unknown, subject?: string): string {
  if (!(error instanceof UserError)) throw error;
  return [error.reason, subject && `: ${subject}`, error.remedy && ` (${error.remedy})`].filter(Boolean).join('');
}
