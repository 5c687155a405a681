/**
 * An experiment: tasks with their parameters, rewards, prompt, limits, as everything that trains, evaluates, compares, plans or
 * checks uses them. Whoever asks a question or scores an answer does it through this.
 */
import { createHash } from 'node:crypto';
import path from 'node:path';

import { resolveSteps, type Config } from '../config/schema.ts';
import { readDataset, type DatasetOptions, type ReadDataset } from '../data/dataset.ts';
import type { Frames } from '../data/images.ts';
import { paced } from '../data/paced.ts';
import { printOf } from '../data/print.ts';
import { pickSamples } from '../data/samples.ts';
import { Numbers } from '../data/texts.ts';
import { badLines, unusable, type Finding } from '../data/findings.ts';
import { UserError } from '../errors.ts';
import { maskRewards } from '../masks/reward.ts';
import { knownPlugin } from '../plugins/known.ts';
import { isolated } from '../plugins/isolated.ts';
import { loadPlugin, pluginHash, type Plugin } from '../plugins/plugins.ts';
import { REWARD_LIMITS, type RewardLimits } from '../reward/limits.ts';
import { makeScorers, type RewardFunction, type Scorer, type Subject } from '../reward/reward.ts';
import { taskDefinition, taskNames, tasksPrint } from '../tasks/registry.ts';
import type { Task } from '../tasks/task.ts';
import { fillTemplate, hasVariable, templateFault } from '../tasks/template.ts';
import type { Frame, Sample, Samples } from '../types.ts';
import { ask, weigh, type Encodes, type Measures, type Question } from './ask.ts';
import { settle, type GivenSettings, type Settings } from './settings.ts';

export interface ExperimentSources {
  /** Files of plugins that the user names; those that the settings name are looked for among them first. */
  readonly plugins?: readonly string[] | undefined;
  /** Rewards that no file holds. */
  readonly rewards?: readonly RewardFunction[] | undefined;
  /** Of rewards and tasks of the user's own. */
  readonly limits?: RewardLimits | undefined;
  /** Processes that rewards of plugins run in; none: in this one. */
  readonly processes?: number | undefined;
  /** Hears of a plugin that is not what it was, and of a reward that is missing. */
  readonly onWarning?: ((message: string) => void) | undefined;
}

export type ReadOptions = Omit<DatasetOptions, 'task' | 'truths' | 'reading'>;

export interface LoadOptions extends ReadOptions {
  /** Samples that cannot be used are left out, and this hears which; unset: they are an error. */
  readonly onSkip?: ((message: string) => void) | undefined;
}

export interface LoadedSamples extends Omit<ReadDataset, 'findings'> {
  /** The experiment with every task that the samples name. */
  readonly experiment: Experiment;
}

export class Experiment {
  /** Settings with the parameters of `tasks` decided. */
  readonly settings: Settings;
  /** Tasks that samples named, in the order in which they did. */
  readonly tasks: ReadonlyMap<string, Task>;
  readonly rewards: readonly RewardFunction[];

  readonly #limits: RewardLimits;
  #known: Scorer | undefined;

  /**
   * An experiment with no task decided yet; what the settings leave out has its default.
   * @throws UserError where a plugin is missing or fails, or two rewards have one name
   */
  static open(given: GivenSettings = {}, sources: ExperimentSources = {}): Experiment {
    const { rewards = [], onWarning = () => undefined, limits = REWARD_LIMITS, processes = 0 } = sources;
    const { settings } = settle([{ from: '', settings: given }]);
    const plugins = pluginFiles(settings.plugins, sources.plugins ?? [], onWarning).map(loadPlugin);
    const own =
      processes > 0
        ? isolated(plugins, { processes, seconds: limits.seconds })
        : plugins.flatMap((plugin) => plugin.rewards);
    const all = [...own, ...rewards];
    for (const { name } of settings.rewards) {
      if (all.some((each) => each.name === name)) continue;
      onWarning(`the reward "${name}" of the training is not here: "reward" is measured without it`);
    }
    return new Experiment({ ...settings, ...recorded(plugins, rewards) }, new Map(), all, limits);
  }

  private constructor(
    settings: Settings,
    tasks: ReadonlyMap<string, Task>,
    rewards: readonly RewardFunction[],
    limits: RewardLimits,
  ) {
    this.settings = settings;
    this.#limits = limits;
    this.tasks = tasks;
    this.rewards = rewards;
    this.#known = undefined;
  }

  /** The scorer of all tasks. */
  get scorer(): Scorer {
    const { parameters, thinking } = this.settings;
    return (this.#known ??= makeScorers(
      this.tasks,
      this.rewards,
      thinking,
      (name) => maskRewards(parameters[name] ?? {}),
      this.#limits,
    ));
  }

  /**
   * With the tasks that samples name; what parameters leave to `auto` is read off them. Tasks that are decided stay as they
   * are. Names of no task are left to whoever checks the samples.
   * @throws UserError where parameters are wrong, or contradict the samples
   */
  decide(samples: Samples): Experiment {
    const places = Map.groupBy(samples.map(({ task }) => task).entries(), ([, task]) => task);
    return this.decideTasks(
      new Map([...places].map(([task, own]) => [task, pickSamples(samples, own.map(([place]) => place))])), // prettier-ignore
    );
  }

  /** The same, of samples by their task. */
  decideTasks(samples: ReadonlyMap<string, Samples>): Experiment {
    const tasks = new Map(this.tasks);
    const parameters = { ...this.settings.parameters };
    const known = new Set(taskNames());
    for (const [name, own] of samples) {
      if (tasks.has(name) || !known.has(name)) continue;
      const made = makeTask(name, parameters[name], own);
      requireTemplate(this.settings.prompt, made.task);
      tasks.set(name, made.task);
      parameters[name] = made.parameters;
    }
    return new Experiment({ ...this.settings, parameters }, tasks, this.rewards, this.#limits);
  }

  /**
   * The samples of a file, all checked, and the experiment with their tasks.
   * @throws UserError that lists what is wrong
   */
  async load(file: string, { onSkip, ...options }: LoadOptions = {}): Promise<LoadedSamples> {
    const { findings, ...loaded } = await this.read(file, options);
    const error = unusable(findings);
    if (!error) return loaded;
    if (!onSkip) throw error;
    const samples = await usableSamples(loaded.samples, findings, options);
    // The message of the error says what is wrong with the file as a whole, where that is so.
    if (samples.length === 0) throw error;
    onSkip(error.reason);
    return { ...loaded, samples, print: await printOf(file, samples, loaded.bytesOf, { signal: options.signal }) };
  }

  /** The samples of a file with what is wrong with them, and the experiment with their tasks. */
  async read(file: string, options: ReadOptions = {}): Promise<ReadDataset & Pick<LoadedSamples, 'experiment'>> {
    const made: Experiment[] = [];
    const truths = (_: Samples, tasks: ReadonlyMap<string, Samples>): Experiment => {
      const experiment = this.decideTasks(tasks);
      made.push(experiment);
      return experiment;
    };
    const { task, parameters, plugins } = this.settings;
    const reading = { parameters, plugins, decided: [...this.tasks.keys()], known: tasksPrint() };
    const read = await readDataset(file, { ...options, task, truths, reading });
    return { ...read, experiment: made.at(-1) ?? this };
  }

  /** What a sample's solution says, by its task. @throws UserError where it says nothing that can be read */
  parseTruth(sample: Sample, frames?: readonly Frame[]): unknown {
    return this.tasks.get(sample.task)?.parseTruth(sample, frames);
  }

  /** sample -> prompt and truth. */
  ask(policy: Encodes, sample: Sample): Promise<Question> {
    const { prompt, system } = this.settings;
    return ask({ policy, scorer: this.scorer, prompt, system }, sample);
  }

  /** sample -> truth, and whether it can be asked, from the sizes of its images. */
  weigh(policy: Measures, sample: Sample, sizes: Frames): Subject {
    const { prompt, system } = this.settings;
    return weigh({ policy, scorer: this.scorer, prompt, system }, sample, sizes);
  }

  /** The user turn of a question that is in no dataset: that of the task of samples which name none. */
  userTurn(
    problem: string,
    { task: named, prompt: own }: { readonly task?: string; readonly prompt?: string } = {},
  ): string {
    const { prompt, templates, task: usual } = this.settings;
    const task = this.taskOf(named);
    return fillTemplate(prompt ?? own ?? templates?.[named ?? usual] ?? task.template, task.variables(problem));
  }

  /** A task by its name; unset: that of samples which name none. @throws UserError where there is none of that name */
  taskOf(name = this.settings.task): Task {
    return this.tasks.get(name) ?? makeTask(name, this.settings.parameters[name], []).task;
  }

  /** All parameters of a task, with their defaults. @throws UserError where they are wrong */
  parametersOf(task: string): Settings['parameters'][string] {
    return makeTask(task, this.settings.parameters[task], []).parameters;
  }

  /** The same, whose prompts are made otherwise. */
  withPrompts(changed: Pick<Settings, 'minPixels' | 'maxPixels' | 'think'>): Experiment {
    return new Experiment({ ...this.settings, ...changed }, this.tasks, this.rewards, this.#limits);
  }

  /** The same, remembering how the first of these samples are asked, where they bring templates of their own. */
  withTemplates(samples: Samples): Experiment {
    const seen = samples.slice(0, LOOKED_AT).filter(({ extra }) => typeof extra['prompt'] === 'string');
    const templates = [...Map.groupBy(seen, ({ task }) => task)].map(([task, own]) => {
      const byTemplate = [...Map.groupBy(own, ({ extra }) => extra['prompt'] as string)];
      const [template] = byTemplate.reduce((most, each) => (each[1].length > most[1].length ? each : most));
      return [task, template] as const;
    });
    if (templates.length === 0 || this.settings.prompt !== undefined) return this;
    const settings = { ...this.settings, templates: Object.fromEntries(templates) };
    return new Experiment(settings, this.tasks, this.rewards, this.#limits);
  }

  /** A configuration with everything that its samples, which are so many, and its model decided. */
  resolve(asked: Config, samples: number): Config {
    const config = resolveSteps(asked, samples);
    const { [config.data.task]: task = config.task, ...tasks } = this.settings.parameters;
    const { minPixels, maxPixels, think } = this.settings;
    return { ...config, task, tasks, data: { ...config.data, minPixels, maxPixels, think } };
  }
}

/** Samples whose templates stand for those of all. */
const LOOKED_AT = 1000;
/** @throws UserError where the template of a configuration would ask all samples the same, or nearly has a variable */
function requireTemplate(template: string | undefined, task: Task): void {
  if (template === undefined) return;
  const known = Object.keys(task.variables(''));
  const none = `the prompt template has no {${known[0]!}}: every sample would be asked the same`;
  const fault = templateFault(template, known) ?? (hasVariable(template, known) ? undefined : none);
  if (fault !== undefined) throw new UserError(fault, { where: 'data.prompt' });
}

/** Samples without those that an error was found in. */
async function usableSamples(
  samples: Samples,
  findings: readonly Finding[],
  { signal }: Pick<LoadOptions, 'signal'>,
): Promise<Samples> {
  const bad = badLines(findings);
  const kept = new Numbers();
  const visit = ({ source }: Sample, place: number): void => {
    if (bad.get(source.file)?.has(source.line) !== true) kept.push(place);
  };
  await paced(samples, visit, { signal });
  return pickSamples(samples, kept.values);
}

/** @throws UserError where there is no such task, or parameters are wrong, or contradict the samples */
function makeTask(
  name: string,
  given: unknown,
  samples: Samples,
): { task: Task; parameters: Settings['parameters'][string] } {
  const definition = taskDefinition(name);
  const parsed = definition.parameters.safeParse(given ?? {});
  if (!parsed.success) throw parameterError(name, parsed.error.issues[0]!);
  const decided = definition.decide?.(parsed.data, samples) ?? parsed.data;
  return { task: definition.create(decided, samples), parameters: decided as Settings['parameters'][string] };
}

/** What is written down of where tasks and rewards came from. */
function recorded(
  plugins: readonly Plugin[],
  rewards: readonly RewardFunction[],
): Pick<Settings, 'plugins' | 'rewards'> {
  const sourceOf = (reward: RewardFunction): string =>
    Object.values(reward)
      .filter((value) => typeof value === 'function')
      .map(String)
      .join('\n');
  const hash = (text: string): string => createHash('sha256').update(text).digest('hex');
  return {
    plugins: plugins.map(({ file, sha256 }) => ({ name: path.basename(file), sha256 })),
    rewards: [
      ...plugins.flatMap((plugin) => plugin.rewards.map(({ name, weight }) => ({ name, weight }))),
      ...rewards.map((reward) => ({ name: reward.name, weight: reward.weight, sha256: hash(sourceOf(reward)) })),
    ],
  };
}

/** The files of the plugins that settings name, among those given and those that this user named before; then the others given. */
function pluginFiles(
  named: Settings['plugins'],
  given: readonly string[],
  onWarning: (message: string) => void,
): string[] {
  const found = named.map(({ name, sha256 }) => {
    const file = given.find((each) => path.basename(each) === name) ?? knownPlugin(sha256);
    if (file === undefined) {
      throw new UserError(`the model was trained with the plugin ${name}, which is not known here`, {
        remedy: 'Name its file: --plugin FILE, or a configuration that does: --config FILE.',
      });
    }
    if (pluginHash(file) !== sha256) onWarning(`the plugin ${file} has changed since the training`);
    return file;
  });
  return [...new Set([...found, ...given])];
}

function parameterError(task: string, { path: place, message }: { path: PropertyKey[]; message: string }): UserError {
  const where = ['parameters of the task', task, place.length > 0 ? `(${place.join('.')})` : ''].join(' ').trim();
  return new UserError(message, { where });
}
