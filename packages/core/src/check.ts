/** Checks before a run: is the data usable, and can its labels win? */
import { loadTaskData } from './evaluate.ts';
import { labelsThatCannotWin, type LabelThatCannotWin } from './reward/labelcheck.ts';
import { makeScorers } from './reward/reward.ts';
import { askAll } from './ask.ts';
import type { HubOptions } from './hub/model.ts';
import { loadPolicy } from './policy.ts';
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
export async function checkData(
  file: string,
  { task }: { readonly task?: string | undefined } = {},
): Promise<DataReport> {
  const { samples } = await loadTaskData(file, task);
  return { n: samples.length, images: new Set(samples.flatMap(({ images }) => images)).size, tasks: countBy(samples) };
}

export interface RewardReport {
  readonly n: number;
  /** Samples whose label ties with, or loses against, a well-formed wrong answer with thinking. */
  readonly losing: readonly LabelThatCannotWin[];
}

/** Can the label of every sample win? `model` says in which coordinates answers are written. */
export async function checkReward(
  file: string,
  { task: name, model, ...hub }: { readonly task?: string | undefined; readonly model: string } & HubOptions,
): Promise<RewardReport> {
  const { samples, tasks } = await loadTaskData(file, name);
  const scorer = makeScorers(tasks);
  using policy = await loadPolicy(model, hub);
  const questions = await askAll({ policy, scorer }, samples);
  return {
    n: samples.length,
    losing: labelsThatCannotWin(scorer, questions, { eliminate: 'on', thinking: 'eliminate' }),
  };
}
