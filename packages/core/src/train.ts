/** A run from config to trained policy: data checked, model found, run opened, steps (training/). */
import { hostname } from 'node:os';

import { info, observeCalls, setNumThreads, type Device } from '@visurf/torch';

import type { Config } from './config/schema.ts';
import { resolveDevice } from './device.ts';
import { explainProcesses, type Joined } from './distributed/join.ts';
import { alone, byFirst, keepOthers, waitForFirst, type Processes } from './distributed/processes.ts';
import { fileError } from './errors.ts';
import { requireFit } from './fit.ts';
import { precisionWarning } from './machine.ts';
import { explainTraining } from './memory.ts';
import { adaptersOf } from './model/lora.ts';
import { adapterFiles } from './model/peft.ts';
import { modelFiles } from './export/huggingface.ts';
import { locateModel, type Policy } from './policy.ts';
import { promptPrint } from './prompt/files.ts';
import { printOfModel } from './question/model-print.ts';
import { prepareQuestions } from './question/prepare.ts';
import { promptSettings } from './question/settings.ts';
import { loadData } from './question/training.ts';
import type { RewardFunction } from './reward/reward.ts';
import { isBegun, requireEmpty } from './run/course.ts';
import { describeEnvironment, describeOrigin } from './run/environment.ts';
import { Profile, type ProfileOptions } from './run/profile.ts';
import { requirePositions } from './plan/refusals.ts';
import { checkParadigm, joinsGroups } from './schedule/paradigm.ts';
import { openServers, runAlready } from './servers/open.ts';
import { loadStart } from './start.ts';
import { StoredRun } from './mirror/stored.ts';
import { isStored, runDirectory } from './store/address.ts';
import { requireSameFiles, requireSameStart } from './training/alike.ts';
import { trainPolicy } from './training/loop.ts';
import { Opening } from './training/opening.ts';
import type { TrainEvent, TrainResult } from './training/types.ts';

export interface TrainOptions {
  /** Continue the run in `config.output` from its last checkpoint; `ifBegun`: where there is one, else begin it. */
  readonly resume?: boolean | 'ifBegun';
  /** Where this process computes; unset: as the configuration says. */
  readonly device?: Device | undefined;
  readonly onEvent?: (event: TrainEvent) => void;
  /**
   * When aborted, the step in progress is dropped, a checkpoint of the last finished one is written, and `train` returns;
   * before the first step nothing is written.
   */
  readonly signal?: AbortSignal;
  /** Reward terms of one's own, added to those of the task. */
  readonly rewards?: readonly RewardFunction[];
  /**
   * Go back to the checkpoint of this step, and take another course from there: keys may have changed. What the run did
   * after it is kept beside it, in `branches/`.
   */
  readonly from?: number | undefined;
  /** Go on with data, or a base model, that is not what the run began with. */
  readonly changedData?: boolean;
  /** Train on the samples that can be used, and list those that cannot. */
  readonly skipBad?: boolean;
  /** Start although the plan says that memory or disk will not do. */
  readonly unplanned?: boolean;
  /** The command that was typed, for the record. */
  readonly command?: string | undefined;
  /** What was said of the configuration before: logged with the run. */
  readonly warnings?: readonly string[];
  /** That train together, each with the same configuration; the first writes the run. Unset: this one is alone. */
  readonly processes?: Joined | undefined;
  /** Record some steps as a trace for chrome://tracing or Perfetto. */
  readonly profile?: ProfileOptions | undefined;
}

/**
 * Trains as the config says. Where the output is an address in an object store, the run is written to a directory of this
 * machine and sent there; trouble with the store stops no training.
 * @throws UserError for bad input, before the first step wherever it can be known before.
 */
export async function train(config: Config, options: TrainOptions = {}): Promise<TrainResult> {
  const { processes, from, skipBad = false, unplanned = false } = options;
  try {
    if (processes) await requireSameStart(processes, { config, flags: { from, 'skip-bad': skipBad, unplanned } });
    return isStored(config.output) ? await trainStored(config, options) : await trainHere(config, options);
  } catch (failure) {
    const error = explainProcesses(failure);
    processes?.abandon(error);
    throw error;
  }
}

/** The first process sends the run; the others need the directory that it writes. */
async function trainStored(config: Config, options: TrainOptions): Promise<TrainResult> {
  const { resume = false, from, onEvent = () => undefined, signal, processes } = options;
  if (processes && processes.rank > 0) {
    await waitForFirst(processes);
    const result = await trainHere({ ...config, output: runDirectory(config.output) }, options);
    return { ...result, run: config.output };
  }
  const warnings: string[] = [];
  let warn = (message: string): void => void warnings.push(message);
  const opening = StoredRun.open(config.output, {
    ...{ resume: resume || from !== undefined, step: from, keep: config.checkpoint.keep },
    onWarning: (message) => warn(message),
    onFetch: (done, total) => onEvent({ kind: 'prepare', what: 'files', done, total }),
    onSending: (left) => onEvent({ kind: 'sending', left }),
  });
  let result: TrainResult | undefined;
  try {
    if (processes) await keepOthers(processes, opening);
    const stored = await opening;
    const own = { ...options, warnings: [...(options.warnings ?? []), ...warnings] };
    result = await trainHere({ ...config, output: stored.directory }, own, (log) => {
      warn = log;
      stored.begin();
    });
    // Nobody is to wait for what is sent now.
    await processes?.[Symbol.asyncDispose]();
  } finally {
    // The log is closed.
    warn = (message) => onEvent({ kind: 'warning', message });
    const stored = await opening;
    const unsent = await stored.finish(result === undefined || result.interrupted, signal);
    if (result) result = { ...result, run: config.output, ...(unsent && { unsent }) };
    else if (unsent) warn(`${config.output} lacks ${unsent.files.length} files; they are in ${unsent.directory}`);
  }
  return result;
}

/** @param onOpen hears when there is a run, with what notes warnings in it */
async function trainHere(
  config: Config,
  options: TrainOptions,
  onOpen: (warn: (message: string) => void) => void = () => undefined,
): Promise<TrainResult> {
  const { processes } = options;
  const signal = processes?.follow(options.signal) ?? options.signal;
  const course = { hasBegun: false };
  const onBegin = (): void => void (course.hasBegun = true);
  try {
    return await prepareAndTrain(config, { ...options, signal, onBegin, onOpen });
  } catch (failure) {
    const error = explainProcesses(failure);
    processes?.abandon(error);
    // Stopped before the first step; a process that already waits for the one that is stopped is left by it.
    const isLeft = !course.hasBegun && failure !== error;
    if (!signal?.aborted || (failure !== signal.reason && !isLeft)) throw error;
    return { run: config.output, steps: 0, metrics: {}, interrupted: true };
  }
}

async function prepareAndTrain(
  asked: Config,
  options: Omit<TrainOptions, 'signal'> & {
    readonly signal: AbortSignal | undefined;
    /** Hears when there is a run, with what notes warnings in it. */
    readonly onOpen: (warn: (message: string) => void) => void;
    /** Hears when the training begins. */
    readonly onBegin: () => void;
  },
): Promise<TrainResult> {
  const { onEvent = () => undefined, signal, skipBad = false, rewards, from, changedData, warnings = [] } = options;
  checkParadigm(asked);
  const processes = options.processes ?? alone;
  const isFirst = processes.rank === 0;
  const { resume = false } = options;
  const resumes =
    from !== undefined || (await byFirst(processes, () => (resume === 'ifBegun' ? isBegun(asked.output) : resume)));
  if (!resumes && isFirst) requireEmpty(asked.output);
  const device = options.device ?? resolveDevice(asked.device);
  if (asked.threads !== undefined) setNumThreads(asked.threads);
  const opening = new Opening(processes, (message) => onEvent({ kind: 'warning', message }));
  const { warn } = opening;
  warnings.forEach(warn);
  const data = await loadData(asked, {
    ...{ rewards, signal, onWarning: warn },
    ...(skipBad && { onSkip: (message: string) => warn(`left out: ${message}`) }),
    onProgress: (what, done, total) => onEvent({ kind: 'prepare', what, done, total }),
    onDownload: (progress) => onEvent({ kind: 'download', progress }),
  });
  const { base, adapter } = await locateModel(asked.model, {
    base: asked.base,
    revision: asked.revision,
    onProgress: (progress) => onEvent({ kind: 'download', progress }),
    onWarning: warn,
  });
  requirePositions(asked, base);
  if (!options.unplanned) {
    const hosts = await processes.gather(hostname());
    const world = { size: processes.size, here: hosts.filter((each) => each === hostname()).length };
    await requireFit({ ...asked, device }, data, { base, adapter }, { world, onWarning: warn, signal });
  }
  const limits = promptSettings([adapter, base], asked.data);
  const experiment = data.experiment.withPrompts(limits).withTemplates(data.samples);
  const config = experiment.resolve(asked, data.samples.length);
  checkParadigm(config);
  const facts = {
    config,
    environment: describeEnvironment({ ...info() }),
    origin: describeOrigin({
      ...{ command: options.command, weights: experiment.scorer.weights },
      processes: processes.size,
    }),
  };

  try {
    const modelPrint = printOfModel([base, adapter].filter((each) => each !== undefined));
    const { settings } = experiment;
    const read = { data: data.prints, model: modelPrint, settings, environment: facts.environment };
    (await requireSameFiles(processes, read)).forEach(warn);
    const continued = { from, changedData, experiment, adapter, modelPrint, data, model: asked.model };
    const checkpoint = resumes ? await opening.resume(facts, continued) : undefined;
    const slow = precisionWarning(config.precision, device);
    if (slow) warn(slow);
    using policy = loadStart({ base, adapter }, checkpoint, { ...config, device });
    const { taught, held, ...prepared } = await prepareQuestions({
      ...{ ...data, experiment, policy, config, signal, joins: joinsGroups(config), skips: skipBad },
      key: [data.prints, data.imagesPrints, promptPrint(base), limits],
      onProgress: (done, total) => onEvent({ kind: 'prepare', what: 'samples', done, total }),
    });
    prepared.warnings.forEach(warn);
    const servers = () =>
      openServersTogether(processes, (rank) =>
        openServers(config, learningOf(policy, base), { rank, onWarning: warn, signal }),
      );
    // What is wrong with servers that run already is said before there is a run; others need it for their log.
    await using early = runAlready(config) ? await servers() : undefined;
    const record = () =>
      options.profile && isFirst
        ? new Profile(options.profile, config.output, observeCalls, (summary) =>
            onEvent({ kind: 'profile', ...summary }),
          )
        : undefined;
    // A file that cannot be written is refused before there is a run.
    using named = options.profile?.file === undefined ? undefined : record();
    const run = opening.begin(facts);
    options.onOpen(warn);
    await using sampler = early ?? (await servers());
    using profile = named ?? record();
    const { frames, prints } = data;
    options.onBegin();
    return await trainPolicy({
      ...{ config: { ...config, model: base }, experiment, samples: taught, validation: held, frames, prints },
      ...{ modelPrint, policy, sampler, run, checkpoint, profile, onEvent, signal, processes },
    });
  } catch (error) {
    throw fileError(await explainTraining(error, config), {
      where: placeOf(error, config.output),
      remedy: 'Mend that and resume the run: it goes on from its last checkpoint.',
    });
  } finally {
    opening.close();
  }
}

/** The first process starts servers that are to be started: the others come to them when they are there. */
async function openServersTogether<T>(processes: Processes, open: (rank: number) => Promise<T>): Promise<T> {
  const first = processes.rank === 0 ? [await open(0)] : [];
  await processes.gather(undefined);
  return first[0] ?? (await open(processes.rank));
}

/** What servers need to know of a policy. */
const learningOf = ({ model, encoder, peft }: Policy, base: string): Parameters<typeof openServers>[1] => ({
  ...{ vocabulary: model.config.text.vocabularySize, encoder, adapted: peft && [...adaptersOf(model).keys()] },
  files: peft ? adapterFiles(model, peft) : modelFiles(model, base),
});

/** The file that a system error is about, where that is none of the run. */
function placeOf(error: unknown, run: string): string {
  const file = error instanceof Error && 'path' in error && typeof error.path === 'string' ? error.path : run;
  return file.startsWith(run) ? run : file;
}
