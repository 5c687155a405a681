/**
 * Policies on equal terms: every run of a comparison is trained with every seed, answers the held-out data, and is set
 * against the reference. What is there already is not made again.
 */
import { existsSync } from 'node:fs';
import path from 'node:path';

import type { Config } from './config/schema.ts';
import { resolveDevice } from './device.ts';
import { UserError } from './errors.ts';
import { peekSamples } from './data/dataset.ts';
import { paced } from './data/paced.ts';
import { byDifficulty, passAtK, samplePasses, type SampledAnswers } from './eval/passes.ts';
import { bySet, setOf } from './eval/summary.ts';
import { evaluate } from './evaluate.ts';
import { mergeModels } from './export/merge.ts';
import { localModel } from './hub/model.ts';
import { knownPace, measuredPace, predictedPace } from './compare/pace.ts';
import { plan } from './plan.ts';
import { openEither } from './opened.ts';
import type { Experiment } from './question/experiment.ts';
import { openMeasure, type MeasureOptions } from './question/measure.ts';
import { loadData } from './question/training.ts';
import { checkpointSteps, stepName } from './run/checkpoint.ts';
import { makeDirectory, replaceFile } from './disk/durable.ts';
import { readEvents, type RunEvent } from './run/events.ts';
import { train } from './train.ts';
import type { TrainEvent } from './training/types.ts';
import { equalised, withoutEpochs } from './compare/budget.ts';
import { curvesOf } from './compare/curves.ts';
import { BASELINE, columnDefinitions, configOf, type Comparison } from './compare/definition.ts';
import { comparisonFigures } from './compare/figures.ts';
import { decisive, fingerprints, hashOf, jobsOf, otherResult, resultOf, type Job } from './compare/jobs.ts';
import {
  answersOf,
  readSampled,
  writeResult,
  writeSampled,
  type Answered,
  type SampledResult,
  type StoredResult,
} from './compare/result.ts';
import { estimate, type Column, type PolicyEvaluations, type SampleGroup } from './compare/statistics.ts';
import { comparisonTables, type ComparedPolicies, type Passes } from './compare/table.ts';
import type { Sample } from './types.ts';

export interface CompareEvent {
  /** What is being done, such as `visurf, seed 0: training`. */
  readonly stage: string;
  readonly done: number;
  readonly total: number;
  /** A few words on how it goes. */
  readonly note?: string;
}

export interface CompareOptions {
  readonly onEvent?: (event: CompareEvent) => void;
  /** Said once before the work begins, and when something needs attention. */
  readonly onMessage?: (message: string) => void;
  readonly signal?: AbortSignal | undefined;
}

export interface Compared extends ComparedPolicies {
  /** The tables as text for people. */
  readonly text: string;
  /** Files: Markdown and LaTeX. */
  readonly files: readonly string[];
  /** Files: SVG. */
  readonly figures: readonly string[];
}

/** What the work that is left will take. */
export interface Outlook {
  readonly jobs: number;
  readonly done: number;
  /** Seconds of training, predicted. */
  readonly seconds: number;
  /** Updates by run. With `equal: time` predicted until the pace of the runs was measured. */
  readonly updates: ReadonlyMap<string, number>;
}

/** @throws UserError for a configuration or data that training would refuse, before anything is trained */
export async function outlook(given: Comparison): Promise<Outlook> {
  const asked = await withoutEpochs(given, trainingSamples());
  const pace =
    asked.equal === 'time' ? ((await knownPace(asked, pilotHash())) ?? (await predictedPace(asked))) : undefined;
  const comparison = equalised(asked, pace);
  const jobs = await jobsOf(comparison);
  const left = jobs.filter((job) => resultOf(job) === undefined);
  const perRun = new Map<string, number>();
  const untrained = left.filter(({ run, config, merge }) => run !== BASELINE && !merge && !isTrained(config));
  for (const { run, config } of untrained) {
    if (!perRun.has(run)) perRun.set(run, (await plan(config)).total);
  }
  return {
    jobs: jobs.length,
    done: jobs.length - left.length,
    seconds: untrained.reduce((sum, { run }) => sum + perRun.get(run)!, 0),
    updates: new Map(jobs.flatMap((job) => (job.run === BASELINE ? [] : [[job.run, stepsOf(job)] as const]))),
  };
}

const trainingSamples =
  (signal?: AbortSignal) =>
  async (config: Config): Promise<number> =>
    (await loadData(config, { signal })).samples.length;

/** The comparison with the updates that every run has, for which pilots are run where it needs them. */
async function withBudgets(comparison: Comparison, options: CompareOptions): Promise<Comparison> {
  if (comparison.equal !== 'time') return equalised(comparison);
  const { onEvent = () => undefined, signal } = options;
  const pace = await measuredPace(comparison, {
    hashOf: pilotHash(),
    onStep: (run, done, total) => onEvent({ stage: `${run}: how long an update takes`, done, total }),
    signal,
  });
  return equalised(comparison, pace);
}

function pilotHash(): (pilot: Config) => Promise<string> {
  const print = fingerprints();
  return async (pilot) => hashOf(await decisive(pilot, print));
}

/**
 * @throws UserError for bad input; for results of another configuration
 * @throws the signal's reason when it is aborted: what is finished is kept
 */
export async function compare(given: Comparison, options: CompareOptions = {}): Promise<Compared> {
  const asked = await withoutEpochs(given, trainingSamples(options.signal));
  await requireOneReading(asked, options.signal);
  for (const run of asked.runs) resolveDevice(configOf(asked, run, asked.seeds[0]!).device);
  const tasks = await loadTasks(asked, configOf(asked, asked.runs[0]!, asked.seeds[0]!));
  makeDirectory(asked.results);
  const comparison = await withBudgets(asked, options);
  const jobs = await jobsOf(comparison);
  const results: StoredResult[] = [];
  for (const job of jobs) {
    options.signal?.throwIfAborted();
    results.push(resultOf(job) ?? (await measure(job, comparison, options)));
  }
  const sampled = new Map<string, SampledResult>();
  for (const job of sampledJobs(comparison, jobs)) {
    options.signal?.throwIfAborted();
    sampled.set(job.run, sampledOf(comparison, job) ?? (await sampleAnswers(job, comparison, options)));
  }
  return summarise(comparison, results, tasks, sampled);
}

/** Policies that answer many times: the baseline, and the runs that were asked for, with the first seed. */
const sampledJobs = ({ sampled, seeds }: Comparison, jobs: readonly Job[]): readonly Job[] =>
  sampled ? jobs.filter(({ run, seed }) => run === BASELINE || (seed === seeds[0] && sampled.runs.includes(run))) : [];

const sampledFile = ({ results }: Comparison, { run }: Job): string => path.join(results, `${run}-sampled.json`);

const sampledHash = ({ sampled }: Comparison, { hash }: Job): string => hashOf([hash, sampled?.answers, sampled?.data]);

function sampledOf(comparison: Comparison, job: Job): SampledResult | undefined {
  const file = sampledFile(comparison, job);
  const found = readSampled(file);
  if (found && found.hash !== sampledHash(comparison, job)) throw otherResult(file);
  return found;
}

async function sampleAnswers(job: Job, comparison: Comparison, options: CompareOptions): Promise<SampledResult> {
  const { run, seed, config } = job;
  const { onEvent = () => undefined, signal } = options;
  const model = await modelOf(job, comparison, options);
  const { policy: loaded, experiment: opened } = await openEither(model, comparison.by, {
    ...{ device: config.device, precision: config.precision, stream: config.stream, signal },
    ...measureOf(config, comparison),
  });
  await using policy = loaded;
  const questions: SampledResult['questions'] = {};
  for (const name of comparison.sampled!.data) {
    const { samples, experiment } = await opened.load(comparison.data.get(name)!, {
      signal,
      allowOutside: config.data.allowOutside,
    });
    questions[name] = await samplePasses(policy, experiment, samples, setOf, {
      answers: comparison.sampled!.answers,
      maxNewTokens: experiment.settings.maxNewTokens,
      seed,
      onProgress: (done, total) => onEvent({ stage: `${run}: many answers to ${name}`, done, total }),
      signal,
    });
  }
  const result = { run, hash: sampledHash(comparison, job), questions };
  writeSampled(sampledFile(comparison, job), result);
  return result;
}

async function measure(job: Job, comparison: Comparison, options: CompareOptions): Promise<StoredResult> {
  const { run, seed, config, hash, file } = job;
  const { onEvent = () => undefined, signal } = options;
  const title = titleOf(job);
  const model = await modelOf(job, comparison, options);
  const answers: Record<string, Answered[]> = {};
  const metrics: Record<string, StoredResult['metrics'][string]> = {};
  for (const [name, data] of comparison.data) {
    const evaluated = await evaluate({
      ...{
        model,
        data,
        by: comparison.by,
        device: config.device,
        precision: config.precision,
        stream: config.stream,
        signal,
      },
      ...measureOf(config, comparison),
      output: path.join(comparison.output, 'answers', `${run}-seed-${seed}`, `${name}.jsonl`),
      onProgress: (done, total) => onEvent({ stage: `${title}: answering ${name}`, done, total }),
    });
    answers[name] = answersOf(evaluated.samples);
    metrics[name] = evaluated.metrics;
  }
  const eventsOf = (each: Job): RunEvent[] => readEvents(path.join(each.config.output, 'events.jsonl'));
  const seconds = secondsOf(trainedFor(job).flatMap(eventsOf));
  const course = { steps: stepsOf(job), seconds, curves: curvesOf(job.merge ? [] : trainedFor(job).flatMap(eventsOf)) };
  const result = { run, seed, hash, ...course, metrics, answers };
  writeResult(file, result);
  return result;
}

/** A policy is measured as its configuration trains, the baseline as the first one does. */
const measureOf = (config: Config, { maxNewTokens }: Comparison): MeasureOptions => ({ config, maxNewTokens });

/** What was trained for a policy: nothing, a run, or those that it is merged of. */
const trainedFor = (job: Job): readonly Job[] => job.merge?.of ?? (job.run === BASELINE ? [] : [job]);

const stepsOf = (job: Job): number => trainedFor(job).reduce((sum, { config }) => sum + config.steps, 0);

const titleOf = ({ run, seed }: Job): string => (run === BASELINE ? run : `${run}, seed ${seed}`);

/** The directory of the policy, or its name on the hub. */
async function modelOf(job: Job, comparison: Comparison, options: CompareOptions): Promise<string> {
  const { run, seed, config, merge } = job;
  if (run === BASELINE) return config.model;
  if (!merge) return trained(config, titleOf(job), options);
  const output = path.join(comparison.output, 'runs', run, `seed-${seed}`);
  if (existsSync(output)) return output;
  const [first, second] = merge.of;
  const models = [
    await trained(first.config, titleOf(first), options),
    await trained(second.config, titleOf(second), options),
  ] as const;
  const { method, weight, scale } = merge.definition;
  const base = await localModel(config.model, { revision: config.revision });
  mergeModels(models, method === 'task-arithmetic' ? { method, base, scale } : { method, weight }, output);
  return output;
}

/** Trains, or goes on with it. @returns the directory of the last checkpoint */
async function trained(config: Config, title: string, options: CompareOptions): Promise<string> {
  const { onEvent = () => undefined, onMessage = () => undefined, signal } = options;
  if (!isTrained(config)) {
    const show = (event: TrainEvent): void => {
      const stage = `${title}: training`;
      const note =
        'metrics' in event && event.metrics.reward !== undefined ? `reward ${event.metrics.reward.toFixed(2)}` : '';
      if (event.kind === 'step') onEvent({ stage, done: event.step, total: event.steps, note });
      if (event.kind === 'warning') onMessage(`${title}: warning: ${event.message}`);
    };
    const resume = existsSync(path.join(config.output, 'config.yaml'));
    const { interrupted } = await train(config, { resume, onEvent: show, ...(signal && { signal }) });
    if (interrupted) signal?.throwIfAborted();
  }
  return path.join(checkpointsOf(config), stepName(config.steps));
}

const checkpointsOf = ({ output }: Config): string => path.join(output, 'checkpoints');
const isTrained = (config: Config): boolean => checkpointSteps(checkpointsOf(config)).includes(config.steps);

/** Seconds of all steps, by phase. */
function secondsOf(events: readonly RunEvent[]): Record<string, number> {
  const totals: Record<string, number> = {};
  for (const event of events) {
    if (event.type !== 'step') continue;
    for (const [phase, seconds] of Object.entries(event.seconds)) totals[phase] = (totals[phase] ?? 0) + seconds;
  }
  return totals;
}

/** @throws UserError where runs take a held-out sample for different tasks: their answers would have no metric in common */
async function requireOneReading(comparison: Comparison, signal?: AbortSignal): Promise<void> {
  const { runs, seeds, data } = comparison;
  const [first, ...others] = runs.map((run) => ({
    name: run.name,
    task: configOf(comparison, run, seeds[0]!).data.task,
  }));
  for (const { name, task } of others.filter((other) => other.task !== first!.task)) {
    for (const file of data.values()) {
      const { samples } = await peekSamples(file, { task, signal });
      const { samples: before } = await peekSamples(file, { task: first!.task, signal });
      const others = before[Symbol.iterator]();
      let unnamed: Sample | undefined;
      const compareTasks = (sample: Sample): void => {
        if (sample.task !== (others.next().value as Sample | undefined)?.task) unnamed ??= sample;
      };
      await paced(samples, compareTasks, { signal });
      if (unnamed === undefined) continue;
      throw new UserError(`names no task: the run ${first!.name} takes it for ${first!.task}, ${name} for ${task}`, {
        where: `${file}:${unnamed.source.line}`,
        remedy: 'Name the task of every sample, or give all runs one data.task.',
      });
    }
  }
}

/** The tasks of each held-out file, for their metrics. */
async function loadTasks(comparison: Comparison, config: Config): Promise<ReadonlyMap<string, Experiment['tasks']>> {
  const { experiment: opened } = await openMeasure([], measureOf(config, comparison));
  const found = new Map<string, Experiment['tasks']>();
  for (const [name, file] of comparison.data)
    found.set(name, (await opened.load(file, { allowOutside: config.data.allowOutside })).experiment.tasks);
  return found;
}

/** Samples of a file that are measured together: all, or those of a set where there are several. */
function groupsOf(name: string, answers: readonly Answered[]): Map<string, number[]> {
  const sets = bySet(answers);
  if (sets.size <= 1) return new Map([[name, [...answers.keys()]]]);
  return new Map([...sets].map(([set, places]) => [`${name}.${set}`, places]));
}

function summarise(
  comparison: Comparison,
  results: readonly StoredResult[],
  tasks: ReadonlyMap<string, Experiment['tasks']>,
  sampled: ReadonlyMap<string, SampledResult>,
): Compared {
  const { runs, merged, seeds, reference, output } = comparison;
  const measured = [...runs.map(({ name }) => name), ...merged.keys()];
  const baseline = results[0]!;
  const places: { readonly name: string; readonly file: string; readonly chosen: readonly number[] }[] = [];
  const groups: SampleGroup[] = [];
  for (const file of comparison.data.keys()) {
    const answers = baseline.answers[file] ?? [];
    for (const [name, chosen] of groupsOf(file, answers)) {
      const task = tasks.get(file)?.get(answers[chosen[0]!]!.task);
      if (!task) throw new Error(`no task for ${name}`);
      places.push({ name, file, chosen });
      groups.push({ name, size: chosen.length, metrics: (evaluations) => task.metrics(evaluations) });
    }
  }
  const evaluationsOf = ({ answers }: StoredResult) =>
    places.map(({ file, chosen }) => chosen.map((i) => answers[file]![i]!.evaluation));
  const policies = new Map<string, PolicyEvaluations>(
    [BASELINE, ...measured].map((name) => [name, results.filter(({ run }) => run === name).map(evaluationsOf)]),
  );
  const columns = columnsOf(comparison, groups, evaluationsOf(baseline));
  const estimates = estimate(policies, groups, columns, { seeds: seeds.length, reference });
  const seconds = new Map(
    measured.map((name) => {
      const own = results.filter(({ run }) => run === name);
      const total = own.flatMap((each) => Object.values(each.seconds)).reduce((a, b) => a + b, 0);
      return [name, total / own.length];
    }),
  );
  const updates = new Map(results.flatMap(({ run, steps }) => (run === BASELINE ? [] : [[run, steps] as const])));
  const compared = {
    policies: [...policies.keys()],
    columns: columns.map(({ name }) => name),
    ...{ seeds, reference, estimates, updates, seconds },
    passes: passesOf(comparison, sampled),
  };
  const { text, markdown, latex } = comparisonTables(compared);
  const curves = new Map(
    runs.map(({ name }) => [name, results.filter(({ run }) => run === name).map((each) => each.curves)]),
  );
  const drawn = comparisonFigures({ policies: compared.policies, columns, estimates, curves });
  const links = drawn.map(({ name, title }) => `![${title}](figures/${name}.svg)\n`);
  makeDirectory(path.join(output, 'figures'));
  const write = (name: string, content: string): string => {
    const file = path.join(output, name);
    replaceFile(file, content);
    return file;
  };
  const figures = drawn.map(({ name, content }) => write(path.join('figures', `${name}.svg`), content));
  const files = [write('table.md', [markdown, ...links].join('\n')), write('table.tex', latex)];
  return { ...compared, text, files, figures };
}

function passesOf({ sampled: asked }: Comparison, sampled: ReadonlyMap<string, SampledResult>): Map<string, Passes> {
  if (!asked) return new Map();
  const ks = Array.from({ length: Math.floor(Math.log2(asked.answers)) + 1 }, (_, i) => 2 ** i);
  return new Map(
    asked.data.map((name) => {
      const policies = new Map([...sampled].map(([run, { questions }]) => [run, questions[name] ?? []]));
      const solved = (own: readonly SampledAnswers[], k: number): number =>
        (100 * own.reduce((sum, { answers, passes }) => sum + passAtK(answers, passes, k), 0)) / own.length;
      const curves = new Map([...policies].map(([run, own]) => [run, ks.map((k) => [k, solved(own, k)] as const)]));
      return [name, { passAtK: curves, byDifficulty: byDifficulty(policies) }];
    }),
  );
}

/** Those that were asked for, else the first metric of every group and their mean. */
function columnsOf(
  { columns: asked }: Comparison,
  groups: readonly SampleGroup[],
  baseline: readonly (readonly Answered['evaluation'][])[],
): Column[] {
  const known = groups.map(({ name, metrics }, g) => ({ name, metrics: Object.keys(metrics(baseline[g]!)) }));
  const all = new Map(
    known.flatMap(({ name, metrics }) => metrics.map((metric) => [`${name}.${metric}`, { group: name, metric }])),
  );
  const first = known.flatMap(({ name, metrics: [metric] }) => (metric === undefined ? [] : `${name}.${metric}`));
  const found = (name: string) => {
    const each = all.get(name);
    if (each) return each;
    throw new UserError(`no column is named ${name}`, { remedy: `There are: ${[...all.keys()].join(', ')}.` });
  };
  return (asked ?? columnDefinitions(first)).map(({ name, of }) => ({ name, of: of.map(found) }));
}
