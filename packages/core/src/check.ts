/** Checks before a run: is the data usable, and can its labels win? */
import { UserError } from './errors.ts';
import { localModel, type HubOptions } from './hub/model.ts';
import type { LabelSettings } from './label/control.ts';
import { PromptEncoder } from './prompt/encoder.ts';
import { resolveModel } from './policy.ts';
import { askAll } from './question/ask.ts';
import { openMeasure, type MeasureOptions } from './question/measure.ts';
import { pixelLimits } from './question/settings.ts';
import { labelsThatCannotWin, type LabelThatCannotWin } from './reward/labelcheck.ts';
import type { Sample } from './types.ts';

export interface DataReport {
  readonly n: number;
  readonly images: number;
  /** Samples by task. */
  readonly tasks: Readonly<Record<string, number>>;
}

const countBy = (samples: readonly Sample[]): Record<string, number> => {
  const counts: Record<string, number> = {};
  for (const { task } of samples) counts[task] = (counts[task] ?? 0) + 1;
  return counts;
};

/** @throws UserError that lists every unusable sample. */
export async function checkData(file: string, options: MeasureOptions = {}): Promise<DataReport> {
  const { experiment } = await openMeasure([], options);
  const { samples } = await experiment.load(file);
  return { n: samples.length, images: new Set(samples.flatMap(({ images }) => images)).size, tasks: countBy(samples) };
}

export interface RewardReport {
  readonly n: number;
  /** Samples whose label ties with, or loses against, a well-formed wrong answer with thinking. */
  readonly losing: readonly LabelThatCannotWin[];
}

export interface CheckRewardOptions extends HubOptions, MeasureOptions {
  /** The model to train, which decides the coordinates of answers; unset: that of the configuration. */
  readonly model?: string | undefined;
}

/** Can the label of every sample win, with the rewards of the experiment? Needs no weights. */
export async function checkReward(file: string, options: CheckRewardOptions): Promise<RewardReport> {
  const { model = options.config?.model, config } = options;
  if (model === undefined) throw new UserError('no model is named', { remedy: 'Name it with --model, or --config.' });
  const directory = await localModel(model, { ...options, weights: false });
  const { experiment: opened } = await openMeasure([directory], options);
  const { samples, experiment } = await opened.load(file);
  const { minPixels, maxPixels } = experiment.settings;
  const encoder = PromptEncoder.load(resolveModel(directory).base, pixelLimits(directory, { minPixels, maxPixels }));
  const questions = await askAll(samples, (sample) => experiment.ask({ encoder }, sample));
  const settings: Pick<LabelSettings, 'eliminate' | 'thinking'> = config?.label ?? {
    eliminate: 'on',
    thinking: 'eliminate',
  };
  return { n: samples.length, losing: labelsThatCannotWin(experiment.scorer, questions, settings) };
}
