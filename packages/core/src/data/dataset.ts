/**
 * A dataset is a source of any format that `formats/` reads; in our own, a JSONL file: one sample a line, `image` (a path or a list of them, relative to the file), `problem`,
 * `solution` (text or any JSON), optional `thinking` (the reasoning that leads to the solution), `task` and `id`, and
 * whatever else.
 *
 * Everything is checked before anything is used: every line, every image (decoded to the last byte), every solution.
 * What is wrong comes in one list. Lines are read, checked and forgotten, and read again where they are used; what was found
 * is remembered by what the file holds, beside the data.
 */
import { statSync } from 'node:fs';
import path from 'node:path';
import { IMAGE_LIMITS, type ImageLimits } from '../prompt/decode.ts';
import { taskNames } from '../tasks/registry.ts';
import type { Frame, Sample, Samples } from '../types.ts';
import { locateData, type LocateOptions } from './hub.ts';
import { emptyFinding, unusable, type Finding } from './findings.ts';
import { isOurLines, type RowOptions } from './formats/formats.ts';
import { Images, reasonOf, type Frames } from './images.ts';
import { Territory } from './inside.ts';
import { keepRows, keptLines } from './kept.ts';
import { LineIndex } from './line-index.ts';
import type { Looks } from './looks.ts';
import { paced, type PaceOptions } from './paced.ts';
import { boxesIn, labelKind, Plausibility, type Boxed } from './plausible.ts';
import { printOfHashes, SampleHashes, type BytesOf, type DataPrint } from './print.ts';
import { rememberOutcome, rememberedOutcome, type ReadLines } from './remembered.ts';
import { ourLines } from './samples.ts';
import { trustedFolders } from './trusted.ts';
import { errorIn, readLineRows, tasksOf, type ReadRows, type TaskSamples } from './rows.ts';
import { filesOf } from './videos.ts';

export interface DataLimits extends ImageLimits {
  readonly maxLineBytes: number;
  readonly maxSamples: number;
}

const LIMITS: DataLimits = { ...IMAGE_LIMITS, maxLineBytes: 4 * 2 ** 20, maxSamples: 10_000_000 };

export interface DatasetOptions extends Pick<RowOptions, 'format' | 'boxes' | 'units' | 'split' | 'ask'> {
  /** Task of samples that name none. */
  readonly task: string;
  /**
   * Makes, from all samples, what reads a solution; a UserError it throws is that sample's fault. Beside them: those of each
   * task that it wants to see.
   */
  readonly truths?: ((samples: Samples, tasks: TaskSamples) => TruthReader) | undefined;
  /** Whatever else decides what `truths` find: where it is the same, what was found in a file is remembered. */
  readonly reading?: unknown;
  /** It is for evaluation: of a set on the hub the part for that is read. */
  readonly isHeld?: boolean | undefined;
  /** Called as a set of the hub is downloaded. */
  readonly onDownload?: LocateOptions['onProgress'];
  /** Images may lie outside of the folder of the data. */
  readonly allowOutside?: boolean | undefined;
  /** Only so many samples, from the start of the file. */
  readonly limit?: number | undefined;
  readonly limits?: Partial<DataLimits> | undefined;
  /** Hears how a set of another format was read. */
  readonly onNote?: ((message: string) => void) | undefined;
  /** Sees how every image looks. */
  readonly looks?: Looks | undefined;
  /** Called as the data is read and checked. */
  readonly onProgress?: ((what: 'lines' | 'images' | 'labels', done: number, total: number) => void) | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** The part of a task that checks solutions. */
export interface TruthReader {
  parseTruth(sample: Sample, frames?: readonly Frame[]): unknown;
}

/** A dataset as it was read, whatever is wrong with it. */
export interface ReadDataset {
  /** Of every line that is a sample, also where its image or its label cannot be used. */
  readonly samples: Samples;
  readonly findings: readonly Finding[];
  /** Sizes of the images that could be read, by file. */
  readonly frames: Frames;
  /** Bytes of the images that could be read, by file. */
  readonly bytesOf: BytesOf;
  /** Hashes of what they hold, by file. */
  readonly hashOf: (file: string) => string | undefined;
  /** Folders that hold the data and its images. */
  readonly folders: readonly string[];
  /** Images that the samples name: how many, and their files. */
  readonly images: number;
  readonly imageFiles: () => Iterable<string>;
  /** Stands for all of them. */
  readonly imagesPrint: string;
  readonly print: DataPrint;
}

/**
 * @example const samples = await loadDataset('train.jsonl', { task: 'grounding' });
 * @throws UserError that lists the bad samples by file:line and id, or says that there are none at all
 */
export async function loadDataset(file: string, options: DatasetOptions): Promise<Samples> {
  const { samples, findings } = await readDataset(file, options);
  const error = unusable(findings);
  if (error) throw error;
  return samples;
}

/** @throws UserError where the file itself cannot be read */
export async function readDataset(source: string, given: DatasetOptions): Promise<ReadDataset> {
  const { file, options } = await located(source, given);
  const limits = { ...LIMITS, ...options.limits };
  const { signal, looks } = options;
  const home = homeOf(file);
  const images = new Images(home);
  await images.recall({ signal });
  const read = await linesOf(file, options, limits);
  for (const note of read.notes) options.onNote?.(`${source}: ${note}`);
  const folders = [...read.folders, ...trustedFolders(path.resolve(file))];
  const territory = options.allowOutside ? undefined : new Territory(folders);
  const key = options.reading !== undefined && !looks ? outcomeKey(read, options, limits) : undefined;
  const known = key && (await rememberedOutcome(read, images, key, { ...options, territory }));
  if (known) {
    options.truths?.(known.samples, known.tasks);
    return { ...known, folders, ...(await imageFacts(images, signal)) };
  }
  const rows = await rowsOf(read, images, options, limits);
  const { samples } = rows;
  const findings = [...read.findings, ...rows.findings];
  if (samples.length === 0 && findings.length === 0) findings.push(emptyFinding(source));
  await images.check({ limits, territory, looks, signal, onProgress: progressOf(options, 'images', images.size) });
  await images.remember({ signal });
  const checked = await checkSamples(source, rows, images, options);
  const found = { samples, findings: [...findings, ...checked.findings], print: checked.print };
  // A picture that could not be used is looked at again: its author may have mended it.
  const isLasting = found.findings.every(({ kind }) => kind !== 'image');
  if (key && isLasting) await rememberOutcome(read, images, key, { ...rows, ...found }, signal);
  return { ...found, folders, ...(await imageFacts(images, signal)) };
}

/** A source of the hub as the folder that it is downloaded to. */
async function located(source: string, options: DatasetOptions): Promise<{ file: string; options: DatasetOptions }> {
  const { split, isHeld, signal, onNote, onDownload: onProgress } = options;
  const { path: file, split: part } = await locateData(source, { split, isHeld, signal, onNote, onProgress });
  return { file, options: { ...options, split: part } };
}

/** The folder of the data. */
function homeOf(file: string): string {
  const absolute = path.resolve(file);
  return statSync(absolute, { throwIfNoEntry: false })?.isDirectory() ? absolute : path.dirname(absolute);
}

const imageFacts = async (
  images: Images,
  signal: AbortSignal | undefined,
): Promise<Pick<ReadDataset, 'frames' | 'bytesOf' | 'hashOf' | 'images' | 'imageFiles' | 'imagesPrint'>> => ({
  ...{ frames: images, images: images.size, imagesPrint: await images.print({ signal }) },
  bytesOf: (file) => images.bytesOf(file),
  hashOf: (file) => images.hashOf(file),
  imageFiles: () => images.names(),
});

const progressOf =
  ({ onProgress }: DatasetOptions, what: 'lines' | 'images' | 'labels', total: number): PaceOptions['onProgress'] =>
  (done) =>
    onProgress?.(what, done, total);

/** What decides, beside the images, what is found in a file. */
const outcomeKey = (
  { lines: { sha256 }, file }: ReadLines,
  options: DatasetOptions,
  limits: DataLimits,
): readonly unknown[] => {
  const { task, limit, reading, allowOutside = false } = options;
  return [path.basename(file), sha256, task, limit ?? null, limits, reading, allowOutside];
};

/** A source as lines: those of our own as they are, those of another format as they were read. */
interface SourceLines extends ReadLines {
  readonly findings: readonly Finding[];
  /** Folders in which images were found. */
  readonly folders: readonly string[];
  readonly notes: readonly string[];
}

async function linesOf(file: string, options: DatasetOptions, { maxLineBytes }: DataLimits): Promise<SourceLines> {
  const own = { file: path.resolve(file), home: homeOf(file) };
  if (!(await isOurLines(file, options))) {
    return { ...own, parse: keptLines(options.task), ...(await keepRows(file, options)) };
  }
  const lines = await LineIndex.scan(file, { signal: options.signal, maxLineBytes });
  return { ...own, lines, parse: ourLines(file, options.task), findings: [], folders: [own.home], notes: [] };
}

const rowsOf = ({ lines, parse }: SourceLines, images: Images, options: DatasetOptions, { maxSamples }: DataLimits) => {
  const { limit, signal } = options;
  const onProgress = progressOf(options, 'lines', lines.length);
  return readLineRows(lines, parse, images, { limit, maxSamples, signal, onProgress });
};

export interface Peeked {
  readonly samples: Samples;
  readonly tasks: TaskSamples;
}

/** The samples of a file as far as they can be read; nothing is checked, and what cannot be read is left out. */
export async function peekSamples(source: string, given: DatasetOptions): Promise<Peeked> {
  const { file, options } = await located(source, given);
  const rows = await rowsOf(await linesOf(file, options, LIMITS), new Images(homeOf(file)), options, LIMITS);
  return { samples: rows.samples, tasks: tasksOf(rows.samples, rows.told) };
}

/** Labels of samples by what reads them, and whether all of them together look as if they were meant that way. */
async function checkSamples(
  file: string,
  { samples, told }: ReadRows,
  images: Images,
  options: DatasetOptions,
): Promise<{ findings: Finding[]; print: DataPrint }> {
  const ofImages: Finding[] = [];
  const ofLabels: Finding[] = [];
  const plausibility = new Plausibility(file);
  const hashes = new SampleHashes((image) => images.bytesOf(image));
  const tasks = new Set(taskNames());
  const reader = samples.length > 0 ? options.truths?.(samples, tasksOf(samples, told)) : undefined;
  const visit = (sample: Sample): void => {
    for (const image of filesOf(sample)) {
      const reason = images.reason(image);
      if (reason !== undefined) ofImages.push(errorIn(sample, 'image', reason));
    }
    hashes.add(sample);
    const one = boxed(sample, images);
    if (one) plausibility.add(one);
    if (!tasks.has(sample.task)) {
      const message = `there is no task ${sample.task}: choose one of ${[...tasks].join(', ')}`;
      ofLabels.push(errorIn(sample, 'task', message));
      return;
    }
    const frames = sample.images.flatMap((image) => images.get(image) ?? []);
    try {
      reader?.parseTruth(sample, frames.length === sample.images.length ? frames : undefined);
    } catch (error) {
      const { kind, hint } = one ? labelKind(one) : { kind: 'label' as const, hint: undefined };
      ofLabels.push(errorIn(sample, kind, hint ? `${reasonOf(error)}; ${hint}` : reasonOf(error)));
    }
  };
  const { signal } = options;
  await paced(samples, visit, { signal, onProgress: progressOf(options, 'labels', samples.length) });
  const findings = [...ofImages, ...ofLabels, ...plausibility.findings()];
  return { findings, print: printOfHashes(file, hashes.bytes) };
}

/** A sample that shows one image, which could be read. */
function boxed(sample: Sample, images: Images): Boxed | undefined {
  const [image] = sample.images;
  const frame = sample.images.length === 1 ? images.get(image!) : undefined;
  return frame && { sample, frame, boxes: boxesIn(sample) };
}
