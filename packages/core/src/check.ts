/** Checks before a run: is the data usable, do its labels survive the model's coordinates, can they win? */
import { askAll } from './ask.ts';
import { readDataset, type ReadDataset } from './data/dataset.ts';
import type { Finding } from './data/findings.ts';
import { loadTaskData } from './evaluate.ts';
import { localBase, loadPolicy, type ModelSource } from './policy.ts';
import { PromptEncoder } from './prompt/encoder.ts';
import { frameFor, IMAGE_AREA, survivingSize, type Coordinates } from './prompt/resize.ts';
import { labelsThatCannotWin, type LabelThatCannotWin } from './reward/labelcheck.ts';
import { makeScorers, scorerOf, type Scorer, type Subject } from './reward/reward.ts';
import { lostLabels } from './reward/survival.ts';
import { makeTasks, truthReader } from './tasks/mix.ts';
import { taskDefinition } from './tasks/registry.ts';
import type { Frame, Sample } from './types.ts';

export interface DataReport {
  /** Samples that can be used. */
  readonly n: number;
  readonly images: number;
  /** Samples by task. */
  readonly tasks: Readonly<Record<string, number>>;
  readonly findings: readonly Finding[];
}

export interface CheckDataOptions extends ModelSource {
  /** Of samples that name none. */
  readonly task?: string | undefined;
  /** Whose coordinates labels have to survive; unset: Qwen2.5-VL's, where a limit is given. */
  readonly model?: string | undefined;
  readonly minPixels?: number | undefined;
  readonly maxPixels?: number | undefined;
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
  const { name: task } = taskDefinition(options.task ?? 'grounding');
  const coordinates = await coordinatesOf(options);
  const found: { usable: Sample[]; findings: Finding[] }[] = [];
  for (const file of [files].flat()) {
    const read = await readDataset(file, { task, truths: (all) => truthReader(makeTasks(all)) });
    const bad = new Set(
      read.findings.flatMap(({ severity, line, lines }) => (severity === 'error' ? (lines ?? [line ?? 0]) : [])),
    );
    const usable = read.samples.filter(({ source }) => !bad.has(source.line));
    const rounding = coordinates && usable.length > 0 ? roundingOf(usable, read, coordinates) : [];
    found.push({ usable, findings: [...read.findings, ...rounding] });
  }
  const samples = found.flatMap(({ usable }) => usable);
  return {
    n: samples.length,
    images: new Set(samples.flatMap(({ images }) => images)).size,
    tasks: countBy(samples),
    findings: found.flatMap(({ findings }) => findings),
  };
}

async function coordinatesOf(options: CheckDataOptions): Promise<Coordinates | undefined> {
  const { model, minPixels, maxPixels } = options;
  if (model !== undefined)
    return PromptEncoder.load(await localBase(model, options), { minPixels, maxPixels }).coordinates;
  if (minPixels === undefined && maxPixels === undefined) return undefined;
  const area = { minPixels: minPixels ?? IMAGE_AREA.minPixels, maxPixels: maxPixels ?? IMAGE_AREA.maxPixels };
  return { resize: { patchSize: 14, mergeSize: 2, ...area }, thousandths: false };
}

function roundingOf(samples: readonly Sample[], { frames }: ReadDataset, coordinates: Coordinates): Finding[] {
  const tasks = makeTasks(samples);
  const subjects = samples.map((sample): Subject => {
    const own = sample.images.map((file) => frameFor(frames.get(file)!, coordinates));
    return { sample, frames: own, truth: tasks.get(sample.task)?.parseTruth(sample, own) };
  });
  return roundingFindings(makeScorers(tasks), subjects, coordinates);
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

/** Can the label of every sample win? `model` says in which coordinates answers are written. */
export async function checkReward(
  file: string,
  { task: name, model, ...source }: { readonly task?: string | undefined; readonly model: string } & ModelSource,
): Promise<RewardReport> {
  const { samples, tasks } = await loadTaskData(file, name);
  const scorer = makeScorers(tasks);
  using policy = await loadPolicy(model, source);
  const questions = await askAll({ policy, scorer }, samples);
  return {
    n: samples.length,
    losing: labelsThatCannotWin(scorer, questions, { eliminate: 'on', thinking: 'eliminate' }),
    findings: roundingFindings(scorer, questions, policy.encoder.coordinates),
  };
}
