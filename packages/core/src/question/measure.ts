/** The experiment that a model is measured by: as it was trained, or as a configuration says, with what the user changes. */

import type { Config } from '../config/schema.ts';
import { parseValue } from '../config/yaml.ts';
import { UserError } from '../errors.ts';
import { loadPlugin } from '../plugins/plugins.ts';
import type { RewardFunction } from '../reward/reward.ts';
import { taskDefinition, taskNames } from '../tasks/registry.ts';
import { Experiment } from './experiment.ts';
import {
  describeOrigins,
  carriedSettings,
  settingsOf,
  settle,
  type GivenSettings,
  type Layer,
  type Settings,
} from './settings.ts';
import { decideTogether, dataOf } from './training.ts';

/** What a user says of an experiment; what is left out is as the model was trained. */
export interface MeasureOptions extends Pick<
  GivenSettings,
  'task' | 'prompt' | 'system' | 'maxPromptTokens' | 'minPixels' | 'maxPixels' | 'maxNewTokens'
> {
  /** Settings in place of what the model carries. */
  readonly config?: Config | undefined;
  /** Parameters of tasks as `key=value`: of the task at hand, or with the name of another in front. */
  readonly parameters?: readonly string[] | undefined;
  /** Files of plugins. */
  readonly plugins?: readonly string[] | undefined;
  /** Rewards that no file holds. */
  readonly rewards?: readonly RewardFunction[] | undefined;
  readonly onWarning?: ((message: string) => void) | undefined;
}

export interface Measure {
  readonly experiment: Experiment;
  /** A line for each place that settings were taken from, but for the options themselves. */
  readonly origins: readonly string[];
  /** False where nothing says how a question is put: neither the model, nor a configuration, nor the options. */
  readonly isGuided: boolean;
}

/**
 * @param directories of a model, of which the first that carries settings is followed: an adapter, then its base
 * @throws UserError for settings that cannot be used
 */
export async function openMeasure(
  directories: readonly (string | undefined)[],
  options: MeasureOptions,
): Promise<Measure> {
  const { config, parameters, plugins = [], rewards, onWarning, ...rest } = options;
  const carried = config ? undefined : carriedSettings(directories);
  const configured = config && { from: 'the configuration', settings: settingsOf(config) };
  const base: Layer[] = [configured ?? carried].filter((each) => each !== undefined);
  const { task, prompt, system, maxPromptTokens, minPixels, maxPixels, maxNewTokens } = rest;
  const given = { task, prompt, system, maxPromptTokens, minPixels, maxPixels, maxNewTokens };
  const own: Layer = { from: 'this command', settings: given };
  const { settings } = settle([...base, own]);
  for (const file of [...(config?.plugins ?? []), ...plugins]) loadPlugin(file);
  if (task !== undefined) taskDefinition(task);
  const changed = { ...own, settings: { ...given, parameters: parametersOf(parameters ?? [], settings.task) } };
  const settled = settle([...base, changed]);
  const files = [...(config?.plugins ?? []), ...plugins];
  let experiment = Experiment.open(settled.settings, { plugins: files, rewards, onWarning });
  if (config) experiment = await decideByTraining(experiment, config);
  const isGuided = base.length > 0 || prompt !== undefined || task !== undefined;
  return {
    experiment,
    origins: describeOrigins(settled, own.from),
    isGuided,
  };
}

/** What a configuration leaves to `auto` is decided by the data that it trains on, as `loadData` decides it. */
async function decideByTraining(experiment: Experiment, config: Config): Promise<Experiment> {
  const { learned, held } = dataOf(config);
  const decided = await decideTogether(experiment, learned, config);
  return await decideTogether(decided, held, config);
}

/** `key=value` as parameters by task. @throws UserError for what is no such change */
function parametersOf(changes: readonly string[], task: string): Settings['parameters'] {
  const layers = changes.map((change): Layer => {
    const split = change.indexOf('=');
    const keys = change.slice(0, Math.max(split, 0)).split('.');
    if (split < 1 || keys.includes('')) {
      throw new UserError('not of the form key=value', { where: `--task ${change}`, remedy: 'Example: match=relaxed' });
    }
    const [first = '', ...others] = keys;
    const [name, path] = others.length > 0 && taskNames().includes(first) ? [first, others] : [task, keys];
    const value = parseValue(change.slice(split + 1), `--task ${change}`);
    const nested = path.reduceRight((inner, key) => ({ [key]: inner }), value) as Record<string, unknown>;
    return { from: '', settings: { parameters: { [name]: nested } } };
  });
  return settle(layers).settings.parameters;
}
