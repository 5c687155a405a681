/** Whether a run that goes on has the data and the rewards that it had. */
import type { Config } from '../config/schema.ts';
import { trainingName, trainingSets } from '../config/sets.ts';
import { dataChange, hashesOf, type DataPrint } from '../data/print.ts';
import { setsOf } from '../data/samples.ts';
import { UserError } from '../errors.ts';
import type { Samples } from '../types.ts';
import type { Settings } from './settings.ts';

/**
 * @param run the run's directory, for messages
 * @returns a warning for everything that is there and has changed
 * @throws UserError where a reward is missing, or there is one that was not
 */
export function changesOfRewards(before: Settings, now: Settings, run: string): string[] {
  const names = (settings: Settings): string[] => settings.rewards.map(({ name }) => name);
  const missing = names(before).filter((name) => !names(now).includes(name));
  const added = names(now).filter((name) => !names(before).includes(name));
  if (missing.length + added.length > 0) {
    const reasons = [
      ...missing.map((name) => `with the reward "${name}", which is missing now`),
      ...added.map((name) => `without the reward "${name}"`),
    ];
    throw new UserError(`the run was trained ${reasons.join(', and ')}`, {
      where: run,
      remedy: 'Resume it with the same rewards: plugins in the configuration, or the option rewards of train().',
    });
  }
  const plugins = before.plugins.filter(({ name, sha256 }) => {
    const own = now.plugins.find((each) => each.name === name);
    return own?.sha256 !== sha256;
  });
  const rewards = before.rewards.filter((reward) => {
    const own = now.rewards.find(({ name }) => name === reward.name);
    return own?.weight !== reward.weight || own.sha256 !== reward.sha256;
  });
  return [
    ...plugins.map(({ name }) => `the plugin ${name} is not what it was when the run began`),
    ...rewards.map(({ name }) => `the reward "${name}" is not what it was when the run began`),
  ];
}

/** What a checkpoint keeps of the data; absent in those of earlier versions. */
export interface DataPrints {
  /** One of each set, where there are several. */
  readonly train: DataPrint | readonly DataPrint[];
  readonly validation?: DataPrint | undefined;
}

interface Data {
  readonly config: Config;
  readonly samples: Samples;
  readonly validation: Samples;
  readonly prints: DataPrints;
}

/** @throws UserError that names the file and what changed, where a run goes on with other data */
export function requireSameData(
  before: DataPrints | undefined,
  { config: { data, ...config }, samples, validation, prints }: Data,
): void {
  // Another number of validation samples is what `eval.limit` and `eval.every` may ask for.
  const isLimited = config.eval.limit !== undefined || validation.length === 0;
  const held = isLimited && validation.length !== before?.validation?.samples ? undefined : before?.validation;
  const [were, are, sets] = [[before?.train ?? []].flat(), [prints.train].flat(), setsOf(samples)];
  if (before && were.length !== are.length) {
    throw changed(`it was ${were.map(({ file }) => file).join(', ')}`, trainingName(data.train));
  }
  const compared = [
    ...trainingSets(data.train).map(({ file }, i) => [file, were[i], are[i], sets[i]!] as const),
    [data.validation, held, prints.validation, validation] as const,
  ];
  for (const [file, print, now, own] of compared) {
    if (!print || print.sha256 === now?.sha256) continue;
    const change = dataChange(print, hashesOf(own));
    if (change !== undefined) throw changed(change, file ?? print.file);
  }
}

const changed = (change: string, where: string): UserError =>
  new UserError(`the data is not what the run was trained with: ${change}`, {
    where,
    remedy: 'Bring the data back, or go on with it as it is: --changed-data.',
  });
