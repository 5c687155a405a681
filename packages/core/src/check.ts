/** Checks before a run: is the data usable, do its labels survive the model's coordinates, can they win? */
import { trainingSets } from './config/sets.ts';
import { shareOf } from './config/share.ts';
import type { DatasetOptions } from './data/dataset.ts';
import { badLines, type Finding } from './data/findings.ts';
import { Looks, type Look } from './data/looks.ts';
import { paced } from './data/paced.ts';
import { leakFindings, orphanFindings, Shown } from './data/sharing.ts';
import { Texts } from './data/texts.ts';
import { filesOf } from './data/videos.ts';
import { UserError } from './errors.ts';
import { families } from './families/index.ts';
import type { LabelSettings } from './label/control.ts';
import { locateModel, type ModelSource } from './policy.ts';
import { PromptEncoder } from './prompt/encoder.ts';
import { patchesOf } from './prompt/image.ts';
import { frameFor, survivingSize, type Coordinates } from './prompt/resize.ts';
import type { Experiment } from './question/experiment.ts';
import { openMeasure, type MeasureOptions } from './question/measure.ts';
import { weighAll } from './question/prepare.ts';
import { promptSettings } from './question/settings.ts';
import { labelsThatCannotWin, type LabelThatCannotWin } from './label/labelcheck.ts';
import { scorerOf, type Scorer, type Subject } from './reward/reward.ts';
import { lostLabel } from './reward/survival.ts';
import type { Frame } from './types.ts';

export interface DataReport {
  /** Samples that can be used. */
  readonly n: number;
  readonly images: number;
  /** Samples by task. */
  readonly tasks: Readonly<Record<string, number>>;
  readonly findings: readonly Finding[];
  /** How sets of other formats were read. */
  readonly notes: readonly string[];
}

export interface CheckDataOptions
  extends ModelSource, MeasureOptions, Pick<DatasetOptions, 'format' | 'boxes' | 'units' | 'split' | 'allowOutside'> {
  /** Data that is held out from these files: what it shares with them is found. */
  readonly validation?: string | undefined;
  /** Whose coordinates labels have to survive; unset: that of the configuration, else those of the first family where a limit is given. */
  readonly model?: string | undefined;
  /** Called as data is read. */
  readonly onRead?: DatasetOptions['onProgress'];
  readonly signal?: AbortSignal | undefined;
}

/**
 * Reads whole datasets, and says what is wrong with them and what looks wrong.
 * @param files none: those of the configuration
 * @throws UserError where a file, the task or the model is none
 */
export async function checkData(
  files: string | readonly string[],
  options: CheckDataOptions = {},
): Promise<DataReport> {
  const { model = options.config?.model } = options;
  const located = model === undefined ? undefined : await locateModel(model, { ...options, weights: false });
  const directories = [located?.adapter, located?.base];
  const { experiment: opened } = await openMeasure(directories, options);
  const coordinates = coordinatesOf(located?.base, promptSettings(directories, opened.settings));
  const { signal } = options;
  const own = configured(files, options);
  const { format, boxes, units, split, validation } = { ...options, ...own };
  const notes: string[] = [];
  const allowOutside = options.allowOutside ?? options.config?.data.allowOutside;
  const { onRead, onProgress: onDownload } = options;
  const reading = { format, boxes, units, allowOutside, signal, onProgress: onRead, onDownload };
  const read = async (file: string, part: Pick<DatasetOptions, 'split' | 'isHeld'>): Promise<Read> => {
    const looks = new Looks(file);
    await looks.recall({ signal });
    const onNote = (note: string) => void notes.push(note);
    const found = await opened.read(file, { ...reading, ...part, looks, onNote });
    await looks.remember({ signal });
    return await survey(file, found, { looks, coordinates, signal });
  };
  const found: Read[] = [];
  for (const file of own?.files ?? [files].flat()) found.push(await read(file, { split }));
  const held = validation === undefined ? undefined : await read(validation, { split: options.split, isHeld: true });
  const images = new Texts();
  const tasks: Record<string, number> = {};
  for (const each of found) {
    for (const file of each.images.keys()) images.add(each.images.at(file));
    for (const [task, n] of each.tasks) tasks[task] = (tasks[task] ?? 0) + n;
  }
  const orphans = orphanFindings([...found, ...(held ? [held] : [])].map(({ shown }) => shown), found[0]?.file ?? ''); // prettier-ignore
  return {
    n: found.reduce((sum, { n }) => sum + n, 0),
    images: images.size,
    tasks,
    findings: [
      ...found.map(({ file, shown, findings }) => [
        ...[...findings, ...shown.duplicates(file), ...shown.singles()],
        ...[...shown.dark(file), ...shown.absent(file)],
      ]),
      ...(held ? [held.findings, ...found.map((each) => leakFindings(each.shown, held.shown))] : []),
      orphans,
    ].flat(),
    notes,
  };
}

/** The data of a configuration, where no file is named: all sets that it trains on, as it reads them, and what it holds out. */
function configured(files: string | readonly string[], { config, validation, ...asked }: CheckDataOptions) {
  if (!config || [files].flat().length > 0) return undefined;
  const { train, validation: held, format, boxes, units, split } = config.data;
  return {
    files: trainingSets(train).map(({ file }) => file),
    validation: validation ?? (shareOf(held) === undefined ? held : undefined),
    ...{ format: asked.format ?? format, boxes: asked.boxes ?? boxes, units: asked.units ?? units },
    split: asked.split ?? split,
  };
}

/** A dataset as it was read, and what was noticed of its samples. */
interface Read {
  readonly file: string;
  /** Samples that can be used; their images; how many there are of every task. */
  readonly n: number;
  readonly images: Texts;
  readonly tasks: ReadonlyMap<string, number>;
  readonly shown: Shown;
  readonly findings: readonly Finding[];
}

interface SurveyOptions {
  readonly looks: Looks;
  readonly coordinates: Coordinates | undefined;
  readonly signal: AbortSignal | undefined;
}

async function survey(
  file: string,
  { samples, findings, frames, hashOf, experiment }: Awaited<ReturnType<Experiment['read']>>,
  { looks, coordinates, signal }: SurveyOptions,
): Promise<Read> {
  const bad = badLines(findings);
  const lookOf = (image: string): Look | undefined => {
    const hash = hashOf(image);
    return hash === undefined ? undefined : looks.get(hash);
  };
  const shown = new Shown(lookOf);
  const images = new Texts();
  const tasks = new Map<string, number>();
  const rounding: Finding[] = [];
  let n = 0;
  await paced(
    samples,
    (sample) => {
      const { source, task } = sample;
      const isUsable = bad.get(source.file)?.has(source.line) !== true;
      shown.add(sample, isUsable);
      if (!isUsable) return;
      n += 1;
      for (const image of filesOf(sample)) images.add(image);
      tasks.set(task, (tasks.get(task) ?? 0) + 1);
      if (!coordinates) return;
      const own = sample.images.map((image) => frameFor(frames.get(image)!, coordinates));
      const subject = { sample, frames: own, truth: experiment.parseTruth(sample, own) };
      const finding = roundingFinding(experiment.scorer, subject, coordinates);
      if (finding) rounding.push(finding);
    },
    { signal },
  );
  return { file, n, images, tasks, shown, findings: [...findings, ...rounding] };
}

function coordinatesOf(model: string | undefined, limits: ReturnType<typeof promptSettings>): Coordinates | undefined {
  if (model !== undefined) return PromptEncoder.load(model, limits).coordinates;
  const { minPixels, maxPixels } = limits;
  if (minPixels === undefined && maxPixels === undefined) return undefined;
  const [family] = families;
  if (family.coordinates === 'thousandths') return { thousandths: true };
  const { patchSize, mergeSize, image } = patchesOf(family);
  const area = { minPixels: minPixels ?? image.minPixels, maxPixels: maxPixels ?? image.maxPixels };
  return { resize: { patchSize, mergeSize, ...area }, thousandths: false };
}

/** A label that does not survive the model's coordinates, and the size of the image at which it would. */
function roundingFinding(scorer: Scorer, subject: Subject, coordinates: Coordinates): Finding | undefined {
  const lost = lostLabel(scorer, subject);
  if (!lost) return undefined;
  const { sample, truth, frames, reason } = lost;
  const { task } = scorerOf(scorer, sample);
  const survives = (frame: Frame): boolean => task.lost?.(truth, [frame, ...frames.slice(1)]) === undefined;
  const advice = survivingSize(frames[0]!, coordinates, survives) ?? 'no size of the image helps: correct it';
  const { file, line } = sample.source;
  return { kind: 'rounding', severity: 'warning', file, line, id: sample.id, message: `${reason}; ${advice}` };
}

export interface RewardReport {
  readonly n: number;
  /** Samples whose label ties with, or loses against, a well-formed wrong answer with thinking. */
  readonly losing: readonly LabelThatCannotWin[];
  /** Labels that would not earn the full mark as the model writes them; training leaves them out. */
  readonly findings: readonly Finding[];
}

export interface CheckRewardOptions extends ModelSource, MeasureOptions, Pick<DatasetOptions, 'allowOutside'> {
  /** The model to train, which decides the coordinates of answers; unset: that of the configuration. */
  readonly model?: string | undefined;
  /** Called as data is read. */
  readonly onRead?: DatasetOptions['onProgress'];
  readonly signal?: AbortSignal | undefined;
}

/** Can the label of every sample win, with the rewards of the experiment? Needs no weights. */
export async function checkReward(file: string, options: CheckRewardOptions): Promise<RewardReport> {
  const { config } = options;
  const { model = config?.model } = options;
  if (model === undefined) throw new UserError('no model is named', { remedy: 'Name it with --model, or --config.' });
  const { adapter, base } = await locateModel(model, { ...options, weights: false });
  const { experiment: opened } = await openMeasure([adapter, base], options);
  const { signal, onRead, onProgress: onDownload, allowOutside = options.config?.data.allowOutside } = options;
  const reading = { signal, allowOutside, onProgress: onRead, onDownload };
  const { samples, frames, experiment } = await opened.load(file, reading);
  const encoder = PromptEncoder.load(base, promptSettings([adapter, base], experiment.settings));
  const control: Pick<LabelSettings, 'eliminate' | 'thinking'> = config?.label ?? {
    eliminate: 'on',
    thinking: 'eliminate',
  };
  const losing: LabelThatCannotWin[] = [];
  const findings: Finding[] = [];
  await weighAll(samples, { experiment, policy: { encoder }, frames, signal }, async (subjects) => {
    for (const each of await labelsThatCannotWin(experiment.scorer, subjects, control)) losing.push(each);
    for (const subject of subjects) {
      const finding = roundingFinding(experiment.scorer, subject, encoder.coordinates);
      if (finding) findings.push(finding);
    }
  });
  return { n: samples.length, losing, findings };
}
