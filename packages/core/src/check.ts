/** Checks before a run: is the data usable, do its labels survive the model's coordinates, can they win? */
import type { DatasetOptions, ReadDataset } from './data/dataset.ts';
import type { Finding } from './data/findings.ts';
import { lookOf, type Look } from './data/looks.ts';
import { duplicateFindings, leakFindings, orphanFindings, singleFindings, type Looked } from './data/sharing.ts';
import { UserError } from './errors.ts';
import { families } from './families/index.ts';
import type { LabelSettings } from './label/control.ts';
import { locateModel, type ModelSource } from './policy.ts';
import { PromptEncoder } from './prompt/encoder.ts';
import { frameFor, survivingSize, type Coordinates } from './prompt/resize.ts';
import { askAll } from './question/ask.ts';
import type { Experiment } from './question/experiment.ts';
import { openMeasure, type MeasureOptions } from './question/measure.ts';
import { pixelLimits } from './question/settings.ts';
import { labelsThatCannotWin, type LabelThatCannotWin } from './label/labelcheck.ts';
import { scorerOf, type Scorer, type Subject } from './reward/reward.ts';
import { lostLabels } from './reward/survival.ts';
import type { Frame, Sample } from './types.ts';

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
  extends ModelSource, MeasureOptions, Pick<DatasetOptions, 'format' | 'boxes' | 'units' | 'split'> {
  /** Data that is held out from these files: what it shares with them is found. */
  readonly validation?: string | undefined;
  /** Whose coordinates labels have to survive; unset: that of the configuration, else those of the first family where a limit is given. */
  readonly model?: string | undefined;
}

const countBy = (samples: readonly Sample[]): Record<string, number> => {
  const counts: Record<string, number> = {};
  for (const { task } of samples) counts[task] = (counts[task] ?? 0) + 1;
  return counts;
};

/**
 * Reads whole datasets, and says what is wrong with them and what looks wrong.
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
  const coordinates = coordinatesOf(located?.base, pixelLimits(directories, opened.settings));
  const { format, boxes, units, split, validation } = options;
  const notes: string[] = [];
  const read = async (file: string): Promise<Looked & { readonly usable: Sample[]; readonly findings: Finding[] }> => {
    const looks = new Map<string, Look>();
    const onPixels: DatasetOptions['onPixels'] = (image, pixels) => void looks.set(image, lookOf(pixels));
    const onNote = (note: string) => void notes.push(note);
    const { experiment, ...found } = await opened.read(file, { format, boxes, units, split, onPixels, onNote });
    const bad = new Set(
      found.findings.flatMap(({ severity, file: at, line, lines }) =>
        severity === 'error' ? (lines ?? [line ?? 0]).map((each) => `${at}:${each}`) : [],
      ),
    );
    const usable = found.samples.filter(({ source }) => !bad.has(`${source.file}:${source.line}`));
    const rounding = coordinates && usable.length > 0 ? roundingOf(experiment, usable, found, coordinates) : [];
    return { samples: found.samples, looks, usable, findings: [...found.findings, ...rounding] };
  };
  const found = [];
  for (const file of [files].flat()) found.push({ file, ...(await read(file)) });
  const held = validation === undefined ? undefined : await read(validation);
  const samples = found.flatMap(({ usable }) => usable);
  const named = [...found.flatMap((each) => each.samples), ...(held?.samples ?? [])];
  return {
    n: samples.length,
    images: new Set(samples.flatMap(({ images }) => images)).size,
    tasks: countBy(samples),
    findings: [
      ...found.flatMap((each) => [...each.findings, ...duplicateFindings(each), ...singleFindings(each.usable)]),
      ...(held ? [...held.findings, ...found.flatMap((each) => leakFindings(each, held))] : []),
      ...orphanFindings(named, found[0]?.file ?? ''),
    ],
    notes,
  };
}

function coordinatesOf(model: string | undefined, limits: ReturnType<typeof pixelLimits>): Coordinates | undefined {
  if (model !== undefined) return PromptEncoder.load(model, limits).coordinates;
  const { minPixels, maxPixels } = limits;
  if (minPixels === undefined && maxPixels === undefined) return undefined;
  const [{ processor, coordinates }] = families;
  const { patchSize, mergeSize, image } = processor;
  const area = { minPixels: minPixels ?? image.minPixels, maxPixels: maxPixels ?? image.maxPixels };
  return { resize: { patchSize, mergeSize, ...area }, thousandths: coordinates === 'thousandths' };
}

function roundingOf(
  experiment: Experiment,
  samples: readonly Sample[],
  { frames }: ReadDataset,
  coordinates: Coordinates,
): Finding[] {
  const subjects = samples.map((sample): Subject => {
    const own = sample.images.map((file) => frameFor(frames.get(file)!, coordinates));
    return { sample, frames: own, truth: experiment.parseTruth(sample, own) };
  });
  return roundingFindings(experiment.scorer, subjects, coordinates);
}

/** Labels that do not survive the model's coordinates, and the size of the image at which they would. */
function roundingFindings(scorer: Scorer, subjects: readonly Subject[], coordinates: Coordinates): Finding[] {
  return lostLabels(scorer, subjects).map(({ sample, truth, frames, reason }) => {
    const { task } = scorerOf(scorer, sample);
    const survives = (frame: Frame): boolean => task.lost?.(truth, [frame, ...frames.slice(1)]) === undefined;
    const advice = survivingSize(frames[0]!, coordinates, survives) ?? 'no size of the image helps: correct it';
    const { file, line } = sample.source;
    return { kind: 'rounding', severity: 'warning', file, line, id: sample.id, message: `${reason}; ${advice}` };
  });
}

export interface RewardReport {
  readonly n: number;
  /** Samples whose label ties with, or loses against, a well-formed wrong answer with thinking. */
  readonly losing: readonly LabelThatCannotWin[];
  /** Labels that would not earn the full mark as the model writes them; training leaves them out. */
  readonly findings: readonly Finding[];
}

export interface CheckRewardOptions extends ModelSource, MeasureOptions {
  /** The model to train, which decides the coordinates of answers; unset: that of the configuration. */
  readonly model?: string | undefined;
}

/** Can the label of every sample win, with the rewards of the experiment? Needs no weights. */
export async function checkReward(file: string, options: CheckRewardOptions): Promise<RewardReport> {
  const { config } = options;
  const { model = config?.model } = options;
  if (model === undefined) throw new UserError('no model is named', { remedy: 'Name it with --model, or --config.' });
  const { adapter, base } = await locateModel(model, { ...options, weights: false });
  const { experiment: opened } = await openMeasure([adapter, base], options);
  const { samples, experiment } = await opened.load(file);
  const encoder = PromptEncoder.load(base, pixelLimits([adapter, base], experiment.settings));
  const questions = await askAll(samples, (sample) => experiment.ask({ encoder }, sample));
  const control: Pick<LabelSettings, 'eliminate' | 'thinking'> = config?.label ?? {
    eliminate: 'on',
    thinking: 'eliminate',
  };
  return {
    n: samples.length,
    losing: await labelsThatCannotWin(experiment.scorer, questions, control),
    findings: roundingFindings(experiment.scorer, questions, encoder.coordinates),
  };
}
