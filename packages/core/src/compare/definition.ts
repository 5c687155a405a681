/** What a comparison file says: a configuration that all runs share, what each changes, seeds, held-out data. */
import path from 'node:path';
import { z } from 'zod';

import { loadConfig, loadPluginsOf } from '../config/load.ts';
import { listOf, mistakesOf } from '../config/mistakes.ts';
import { lineOf, readYaml } from '../config/yaml.ts';
import type { Config } from '../config/schema.ts';
import { UserError } from '../errors.ts';
import type { AnsweredBy } from '../servers/open.ts';
import { isStored } from '../store/address.ts';
import { checkName, impliedBy } from './names.ts';

const schema = z.strictObject({
  /** The configuration that the runs share. Of it each run leaves out what its paradigm does not use. */
  config: z.string(),
  /** Directory for the runs and the tables. */
  output: z.string(),
  /** Directory for the results, which comparisons of the same data may share; unset: `results` in `output`. */
  results: z.string().optional(),
  /** Held-out JSONL files by name. */
  data: z.record(z.string(), z.string()).refine((data) => Object.keys(data).length > 0, 'names no file'),
  /** Keys of the configuration by name of the run, nested or dotted. A name may say what it trains (names.ts). */
  runs: z.record(z.string(), z.record(z.string(), z.unknown()).nullable()).default({ sft: {}, rlvr: {}, visurf: {} }),
  /** Two runs, by a name, whose models of the same seed are merged, and measured like a run. */
  merged: z
    .record(
      z.string(),
      z.strictObject({
        of: z.tuple([z.string(), z.string()]),
        method: z.enum(['linear', 'slerp', 'task-arithmetic']).default('linear'),
        /** Share of the second model. */
        weight: z.number().min(0).max(1).default(0.5),
        /** Factor of the sum of both changes (task-arithmetic). */
        scale: z.number().positive().default(1),
      }),
    )
    .default({}),
  /** What the runs have as much of as the reference: updates, prompts to train on, or time to train. */
  equal: z.enum(['updates', 'samples', 'time']).default('updates'),
  seeds: z.array(z.int().min(0)).min(1).default([0]),
  /** The run whose difference to the others is tested; unset: visurf, else the last one. */
  reference: z.string().optional(),
  /**
   * Metrics to show, as `NAME.METRIC`, and their mean; or by name of the column one metric, or several whose mean it is.
   * Unset: the first metric of each file or set.
   */
  columns: z
    .union([z.array(z.string()), z.record(z.string(), z.union([z.string(), z.array(z.string()).min(1)]))])
    .optional(),
  /** Longest answer; unset: as the configuration says. */
  maxNewTokens: z.int().positive().optional(),
  /** Many sampled answers to every question of some files, by the baseline and by some runs with the first seed. */
  sampled: z
    .strictObject({
      /** Per question. */
      answers: z.int().min(2).default(16),
      data: z.array(z.string()).min(1),
      runs: z.array(z.string()),
    })
    .optional(),
});

/** The model before training, as a row of its own. */
export const BASELINE = 'baseline';

export interface RunDefinition {
  readonly name: string;
  /** Changes to the shared configuration, as `key=value`. */
  readonly changes: readonly string[];
}

export interface MergeDefinition {
  readonly of: readonly [string, string];
  readonly method: 'linear' | 'slerp' | 'task-arithmetic';
  readonly weight: number;
  readonly scale: number;
}

export interface ColumnDefinition {
  readonly name: string;
  /** Metrics whose mean it is, as `NAME.METRIC`. */
  readonly of: readonly string[];
}

export interface Comparison {
  /** Absolute, like all paths here. */
  readonly config: string;
  readonly output: string;
  readonly results: string;
  readonly data: ReadonlyMap<string, string>;
  readonly runs: readonly RunDefinition[];
  readonly merged: ReadonlyMap<string, MergeDefinition>;
  readonly equal: z.output<typeof schema>['equal'];
  readonly seeds: readonly number[];
  readonly reference: string;
  readonly columns: readonly ColumnDefinition[] | undefined;
  readonly maxNewTokens: number | undefined;
  readonly sampled: z.output<typeof schema>['sampled'];
  /** Changes that all runs share. */
  readonly changes: readonly string[];
  /** Servers of the base that answer for all policies; unset: each answers itself. */
  readonly by?: AnsweredBy | undefined;
}

/**
 * Reads a comparison file; relative paths in it are relative to it.
 * @param changes to the configuration that all runs share, as `key=value`
 * @param by servers that answer for all policies
 * @throws UserError with every mistake found
 */
export function loadComparison(file: string, changes: readonly string[] = [], by?: AnsweredBy): Comparison {
  const { document, lines } = readYaml(file);
  const locate = (keys: readonly PropertyKey[]): string => `${file}:${lineOf(document, lines, keys)}`;
  const parsed = schema.safeParse(document.toJS());
  if (!parsed.success) throw listOf(mistakesOf(parsed.error.issues, schema, [], locate));
  const {
    config,
    output,
    results,
    data,
    runs,
    merged,
    equal,
    seeds,
    reference: named,
    columns,
    maxNewTokens,
    sampled,
  } = parsed.data;
  const names = Object.keys(runs);
  const reference = named ?? (names.includes('visurf') ? 'visurf' : names.at(-1));
  if (reference === undefined) throw new UserError('there is no run to compare', { where: locate(['runs']) });
  if (!names.includes(reference)) {
    throw new UserError(`no run is named ${reference}`, {
      where: locate(['reference']),
      remedy: `The runs are: ${names.join(', ')}.`,
    });
  }
  for (const [key, given] of Object.entries({ runs, merged, data })) {
    const wrong = Object.keys(given).find((each) => !/^\w[\w.-]*$/.test(each));
    if (wrong === undefined) continue;
    const remedy = 'Names are made of letters, digits, dots, dashes and underscores: files are named after them.';
    throw new UserError(`"${wrong}" cannot be a name`, { where: locate([key, wrong]), remedy });
  }
  for (const key of ['runs', 'merged'] as const) {
    if (!Object.hasOwn(parsed.data[key], BASELINE)) continue;
    const reason = `${BASELINE} is the model before training, which is in every comparison`;
    throw new UserError(reason, { where: locate([key, BASELINE]) });
  }
  for (const [name, { of }] of Object.entries(merged)) {
    if (names.includes(name)) throw new UserError(`a run is named ${name}, too`, { where: locate(['merged', name]) });
    const missing = of.find((each) => !names.includes(each));
    if (missing === undefined) continue;
    const remedy = `The runs are: ${names.join(', ')}.`;
    throw new UserError(`no run is named ${missing}`, { where: locate(['merged', name, 'of']), remedy });
  }
  const unknown = (kind: string, all: readonly string[], given: readonly string[] = []): void => {
    const missing = given.find((each) => !all.includes(each));
    if (missing === undefined) return;
    const remedy = `There are: ${all.join(', ')}.`;
    throw new UserError(`no ${kind} is named ${missing}`, { where: locate(['sampled', kind]), remedy });
  };
  unknown('runs', names, sampled?.runs);
  unknown('data', Object.keys(data), sampled?.data);
  if (new Set(seeds).size < seeds.length) throw new UserError('a seed stands twice', { where: locate(['seeds']) });
  if (isStored(output)) {
    const remedy = 'Name a folder of this machine, and copy it when it is done.';
    throw new UserError('a comparison is not written to an object store', { where: locate(['output']), remedy });
  }
  const absolute = (each: string): string => path.resolve(path.dirname(path.resolve(file)), each);
  loadPluginsOf(absolute(config), changes);
  const comparison: Comparison = {
    config: absolute(config),
    output: absolute(output),
    results: absolute(results ?? path.join(output, 'results')),
    data: new Map(Object.entries(data).map(([key, value]) => [key, absolute(value)])),
    runs: Object.entries(runs).map(([key, given]) => ({ name: key, changes: changesOf(key, given ?? {}) })),
    merged: new Map(Object.entries(merged)),
    equal,
    seeds,
    reference,
    columns: columns && columnDefinitions(columns),
    maxNewTokens,
    sampled,
    changes,
    by,
  };
  for (const run of comparison.runs) {
    const where = locate(['runs', run.name]);
    const own = ['steps', 'epochs'].find((key) => run.changes.some((change) => change.startsWith(`${key}=`)));
    if (equal !== 'updates' && own !== undefined) {
      throw new UserError(`run ${run.name} has ${own} of its own, which equal: ${equal} is to set`, {
        where: locate(['runs', run.name, own]),
        remedy: 'Remove them from the run, or compare with equal: updates.',
      });
    }
    try {
      checkName(run.name, run.changes, configOf(comparison, run, seeds[0]!));
    } catch (error) {
      if (!(error instanceof UserError)) throw error;
      throw new UserError(`run ${run.name}: ${error.message}`, { where, cause: error });
    }
  }
  if (by) requireServable(comparison, locate);
  return comparison;
}

/** @throws UserError for a policy that a server of the base cannot be given as an adapter */
function requireServable(comparison: Comparison, locate: (keys: readonly PropertyKey[]) => string): void {
  const { runs, merged, seeds } = comparison;
  const whole = runs.find((run) => !configOf(comparison, run, seeds[0]!).train.lora);
  const [both] = merged.keys();
  if (whole === undefined && both === undefined) return;
  const [name, keys, remedy] =
    whole === undefined
      ? [both!, ['merged', both!], 'Leave out what is merged']
      : [whole.name, ['runs', whole.name], 'Train adapters (train.lora: {})'];
  throw new UserError(`${name} is a whole model, and a server answers for its own and for adapters of it`, {
    where: locate(keys),
    remedy: `${remedy}, or compare without --backend.`,
  });
}

/** Columns of a list are followed by their mean, where there are several. */
export function columnDefinitions(given: z.output<typeof schema>['columns'] & {}): ColumnDefinition[] {
  if (!Array.isArray(given)) return Object.entries(given).map(([name, of]) => ({ name, of: [of].flat() }));
  const columns = given.map((name) => ({ name, of: [name] }));
  return columns.length > 1 ? [...columns, { name: 'average', of: given }] : columns;
}

/** Leaves of nested keys as `key=value`, after what the name of the run says. */
function changesOf(name: string, given: Readonly<Record<string, unknown>>): string[] {
  const leaves = (values: Readonly<Record<string, unknown>>, prefix: string): string[] =>
    Object.entries(values).flatMap(([key, value]) =>
      typeof value === 'object' && value !== null && !Array.isArray(value)
        ? leaves(value as Record<string, unknown>, `${prefix}${key}.`)
        : [`${prefix}${key}=${JSON.stringify(value)}`],
    );
  return leaves({ ...('paradigm' in given ? {} : impliedBy(name)), ...given }, '');
}

/** The configuration of a run with a seed. */
export function configOf(comparison: Comparison, { name, changes }: RunDefinition, seed: number): Config {
  const output = path.join(comparison.output, 'runs', name, `seed-${seed}`);
  const own = [...changes, `seed=${seed}`, `output=${JSON.stringify(output)}`];
  return loadConfig(comparison.config, own, { shared: comparison.changes });
}
