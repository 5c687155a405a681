/** A run from config to trained policy: data checked, steps, events, evaluation, checkpoints, resume. */
import { join } from 'node:path';

import { info, observeCalls, optim, saveSafetensors, setNumThreads } from '@visurf/torch';

import { featureBytes } from './budgets.ts';
import type { Config } from './config/schema.ts';
import { Corrections } from './data/corrections.ts';
import { cursorOf, type CursorState } from './data/cursor.ts';
import type { Frames } from './data/images.ts';
import { resolveDevice } from './device.ts';
import { fileError, messageOf, NotFinite, UserError } from './errors.ts';
import { answerRecord, evaluatePolicy } from './eval/evaluate.ts';
import { withExperiment } from './export/experiment.ts';
import { modelFiles } from './export/huggingface.ts';
import { formsOfBase } from './forms.ts';
import type { FormHistory } from './label/align.ts';
import { TakeoverGuard } from './label/takeover.ts';
import type { DownloadProgress } from './hub/model.ts';
import { precisionWarning } from './machine.ts';
import { explainTraining } from './memory.ts';
import { FeatureCache } from './model/features.ts';
import { isVision } from './model/keys.ts';
import { adapterFiles } from './model/peft.ts';
import type { ObservePhase, Phase } from './run/phases.ts';
import { locateModel, type Policy } from './policy.ts';
import type { Experiment } from './question/experiment.ts';
import { promptPrint } from './prompt/files.ts';
import { printOfModel, requireSameModel, type ModelPrint } from './question/model-print.ts';
import { prepareQuestions } from './question/prepare.ts';
import { changesOfRewards, requireSameData, type DataPrints } from './question/resume.ts';
import { pixelLimits, readSettings } from './question/settings.ts';
import { loadData } from './question/training.ts';
import { scorerOf, type RewardFunction } from './reward/reward.ts';
import { loadOptimizer, loadStart, optimizerFile, referenceOf, restore } from './start.ts';
import type { Checkpoint } from './run/checkpoint.ts';
import { CollapseGuard } from './run/collapse.ts';
import { describeEnvironment, describeOrigin } from './run/environment.ts';
import { readEvents } from './run/events.ts';
import { requireEmpty } from './run/course.ts';
import { Profile, type ProfileOptions, type ProfileSummary } from './run/profile.ts';
import { asked, describeStep, type StepResult } from './run/record.ts';
import { Run } from './run/run.ts';
import { SilenceGuard } from './run/silence.ts';
import { Watchdog } from './run/watchdog.ts';
import { checkParadigm, joinsGroups, stepWork } from './schedule/paradigm.ts';
import { trainStep, type Batch, type StepContext } from './step.ts';
import type { Sample, Samples } from './types.ts';
import { makeOptimizer, trainable } from './update/optimizer.ts';

export type TrainEvent =
  | {
      readonly kind: 'step';
      readonly step: number;
      readonly steps: number;
      readonly metrics: Readonly<Record<string, number>>;
    }
  | { readonly kind: 'eval'; readonly step: number; readonly metrics: Readonly<Record<string, number>> }
  | { readonly kind: 'checkpoint'; readonly step: number; readonly path: string }
  | ({ readonly kind: 'profile' } & ProfileSummary)
  | { readonly kind: 'warning'; readonly message: string }
  | {
      readonly kind: 'prepare';
      readonly what: 'lines' | 'images' | 'labels' | 'samples';
      readonly done: number;
      readonly total: number;
    }
  | { readonly kind: 'download'; readonly progress: DownloadProgress };

export interface TrainOptions {
  /** Continue the run in `config.output` from its last checkpoint. */
  readonly resume?: boolean;
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
  /** The command that was typed, for the record. */
  readonly command?: string | undefined;
  /** What was said of the configuration before: logged with the run. */
  readonly warnings?: readonly string[];
  /** Record some steps as a trace for chrome://tracing or Perfetto. */
  readonly profile?: ProfileOptions | undefined;
}

export interface TrainResult {
  /** The run directory. */
  readonly run: string;
  readonly steps: number;
  /** Of the last evaluation; without one, of the last step. */
  readonly metrics: Readonly<Record<string, number>>;
  readonly interrupted: boolean;
}

/** What a checkpoint holds beside tensors. */
interface Progress {
  readonly cursor: CursorState;
  readonly forms: FormHistory;
  readonly data?: DataPrints | undefined;
  readonly model?: ModelPrint | undefined;
  /** The step is still to be evaluated. */
  readonly evaluates?: boolean | undefined;
}

/** Steps whose numbers are not finite, after which a run ends whatever `onNonFinite` says. */
const spoiledInARow = 5;

/**
 * Trains as the config says.
 * @throws UserError for bad input, before the first step wherever it can be known before.
 */
export async function train(config: Config, options: TrainOptions = {}): Promise<TrainResult> {
  try {
    return await prepareAndTrain(config, options);
  } catch (error) {
    const { signal } = options;
    // Stopped before the first step.
    if (!signal?.aborted || error !== signal.reason) throw error;
    return { run: config.output, steps: 0, metrics: {}, interrupted: true };
  }
}

async function prepareAndTrain(asked: Config, options: TrainOptions): Promise<TrainResult> {
  const { onEvent = () => undefined, signal, skipBad = false, rewards, from, warnings = [] } = options;
  const resume = (options.resume ?? false) || from !== undefined;
  checkParadigm(asked);
  if (!resume) requireEmpty(asked.output);
  const device = resolveDevice(asked.device);
  if (asked.threads !== undefined) setNumThreads(asked.threads);
  const said: string[] = [];
  let run: Run | undefined;
  // Warnings that come before there is a run are logged when it is there.
  const warn = (message: string): void => {
    if (run) run.log({ type: 'warning', step: reached, message });
    else said.push(message);
    onEvent({ kind: 'warning', message });
  };
  let reached = 0;
  warnings.forEach(warn);
  const data = await loadData(asked, {
    ...{ rewards, signal, onWarning: warn },
    ...(skipBad && { onSkip: (message: string) => warn(`left out: ${message}`) }),
    onProgress: (what, done, total) => onEvent({ kind: 'prepare', what, done, total }),
  });
  const { samples, experiment: chosen } = data;
  const start = await locateModel(asked.model, {
    base: asked.base,
    revision: asked.revision,
    onProgress: (progress) => onEvent({ kind: 'download', progress }),
    onWarning: warn,
  });
  const experiment = chosen.withLimits(pixelLimits([start.adapter, start.base], asked.data));
  const config = experiment.resolve(asked, samples.length);
  checkParadigm(config);

  const environment = describeEnvironment({ ...info() });
  try {
    const changes: string[] = [];
    const modelPrint = printOfModel([start.base, start.adapter].filter((each) => each !== undefined));
    const needsWeights =
      config.train.lora !== undefined || start.adapter !== undefined || config.objective.kl.coefficient > 0;
    const check = (checkpoint: Checkpoint): void => {
      const before = readSettings(checkpoint.directory);
      if (before) changes.push(...changesOfRewards(before, experiment.settings, config.output));
      if (options.changedData) return;
      const saved = checkpoint.state as Progress;
      requireSameData(saved.data, { ...data, config });
      requireSameModel(saved.model, modelPrint, { model: asked.model, needsWeights });
    };
    const origin = describeOrigin({ command: options.command, weights: experiment.scorer.weights });
    const resumed = resume ? await Run.resume(config.output, config, environment, { check, from, origin }) : undefined;
    const checkpoint = resumed?.checkpoint;
    reached = checkpoint?.step ?? 0;
    const begin = (): Run => {
      const opened = resumed?.run ?? Run.start(config.output, config, environment, origin);
      for (const message of said) opened.log({ type: 'warning', step: reached, message });
      return opened;
    };
    if (resumed) run = begin();
    for (const message of resumed?.warnings ?? []) warn(message);
    changes.forEach(warn);
    const slow = precisionWarning(config.precision, device);
    if (slow) warn(slow);
    using policy = loadStart(start, checkpoint, config);
    const {
      taught,
      held,
      warnings: found,
    } = await prepareQuestions({
      ...{ ...data, experiment, policy, config, signal, joins: joinsGroups(config), skips: skipBad },
      key: [
        data.prints,
        data.imagesPrints,
        promptPrint(start.base),
        pixelLimits([start.adapter, start.base], asked.data),
      ],
      onProgress: (done, total) => onEvent({ kind: 'prepare', what: 'samples', done, total }),
    });
    found.forEach(warn);
    const onProfile = (summary: ProfileSummary): void => onEvent({ kind: 'profile', ...summary });
    const record = () => options.profile && new Profile(options.profile, config.output, observeCalls, onProfile);
    // A file that cannot be written is refused before there is a run.
    using named = options.profile?.file === undefined ? undefined : record();
    run ??= begin();
    const local = { ...config, model: start.base };
    using profile = named ?? record();
    const training = {
      config: local,
      experiment,
      samples: taught,
      validation: held,
      frames: data.frames,
      prints: data.prints,
    };
    return await trainPolicy({ ...training, modelPrint, policy, run, checkpoint, profile, onEvent, signal });
  } catch (error) {
    throw fileError(await explainTraining(error, config), {
      where: placeOf(error, config.output),
      remedy: 'Mend that and resume the run: it goes on from its last checkpoint.',
    });
  } finally {
    run?.close();
  }
}

/** The file that a system error is about, where that is none of the run. */
function placeOf(error: unknown, run: string): string {
  const file = error instanceof Error && 'path' in error && typeof error.path === 'string' ? error.path : run;
  return file.startsWith(run) ? run : file;
}

interface Training {
  readonly config: Config;
  readonly policy: Policy;
  readonly experiment: Experiment;
  readonly samples: Samples;
  readonly validation: Samples;
  /** Sizes of the images of both. */
  readonly frames: Frames;
  readonly prints: DataPrints;
  readonly modelPrint: ModelPrint;
  readonly run: Run;
  readonly checkpoint: Checkpoint | undefined;
  readonly profile: Profile | undefined;
  readonly onEvent: (event: TrainEvent) => void;
  readonly signal: AbortSignal | undefined;
}

/** What a resumed run had reached. */
function lastMetrics(directory: string): Readonly<Record<string, number>> {
  const last = readEvents(join(directory, 'events.jsonl')).findLast(({ type }) => type === 'eval' || type === 'step');
  return last && 'metrics' in last ? last.metrics : {};
}

/** Of the steps that a resumed run has made. */
const stepMetrics = (directory: string): Readonly<Record<string, number>>[] =>
  readEvents(join(directory, 'events.jsonl')).flatMap((event) => (event.type === 'step' ? [event.metrics] : []));

/** What comes next, as a rule: with dynamic sampling more prompts may. */
const AFTER: Readonly<Record<Phase, Phase>> = {
  prompt: 'rollout',
  rollout: 'reward',
  reward: 'update',
  update: 'prompt',
};

/** Adds the number of the step to a UserError. */
function inStep(step: number, error: unknown): unknown {
  if (!(error instanceof UserError)) return error;
  const { reason, where, remedy } = error;
  return new UserError(reason, { where: `step ${step}${where ? `, ${where}` : ''}`, remedy, cause: error });
}

function logFailure(run: Run, step: number, error: unknown): void {
  try {
    run.log({ type: 'end', step, reason: 'failed', message: messageOf(error) });
  } catch {
    // A log that cannot be written must not hide why the run failed.
  }
}

async function trainPolicy({
  config,
  policy,
  experiment,
  samples,
  validation,
  frames,
  prints,
  modelPrint,
  run,
  checkpoint,
  profile,
  onEvent,
  signal,
}: Training): Promise<TrainResult> {
  const { scorer } = experiment;
  const parameters = trainable(policy.model, config.train);
  const optimizer = makeOptimizer(parameters, config.optimizer);
  if (checkpoint) loadOptimizer(optimizer, checkpoint.directory);
  const reference = referenceOf(policy, config);
  if (![...parameters.keys()].some(isVision)) {
    const features = new FeatureCache(featureBytes);
    for (const model of [policy.model, reference]) if (model) model._features = features;
  }
  const context: StepContext = {
    config,
    policy,
    scorer,
    signal,
    learner: { model: policy.model, reference, parameters, optimizer },
  };
  const saved = checkpoint?.state as Progress | undefined;
  const cursor = cursorOf(samples, config.seed, saved?.cursor);
  let forms = saved?.forms ?? (await formsOfBase(context, samples, signal));
  let step = checkpoint?.step ?? 0;
  let savedStep = step;
  let lastSaved = checkpoint?.directory ?? '';
  let metrics = checkpoint ? lastMetrics(run.directory) : {};
  const past = checkpoint ? stepMetrics(run.directory) : [];
  const met = run.sampleLog(config.record.images);
  const guards = [new TakeoverGuard(past), new SilenceGuard(past), new CollapseGuard(past)];
  const warn = (message: string): void => {
    run.log({ type: 'warning', step, message });
    onEvent({ kind: 'warning', message: `step ${step}: ${message}` });
  };
  using watchdog = new Watchdog<Phase>({ onWarning: warn });

  // Samples of the batch after the one that was drawn: their images are decoded while the model computes.
  const pull = (): Batch => {
    const indices = cursor.next(config.promptsPerStep);
    return { indices, samples: indices.map((index) => samples.at(index)!) };
  };
  let drawn = cursor.state;
  let finished = drawn;
  let evaluates = false;
  let upcoming = pull();
  const corrections = config.data.corrections === undefined ? undefined : new Corrections(config.data.corrections);
  const draw = (): Batch => {
    const batch = corrections ? corrected(upcoming) : upcoming;
    drawn = cursor.state;
    upcoming = pull();
    policy.encoder.prefetch(upcoming.samples.flatMap(({ images }) => images));
    return batch;
  };

  /** A sample as its user wants it; undefined where it is not to be trained on. */
  const correct = (sample: Sample): Sample | undefined => {
    const fixed = corrections!.apply(sample);
    if (fixed === undefined || fixed === sample) return fixed;
    try {
      experiment.weigh(policy, fixed, frames);
      return fixed;
    } catch (error) {
      if (!(error instanceof UserError)) throw error;
      warn(`the correction of ${sample.id} cannot be used, the sample stays as it was: ${error.reason}`);
      return sample;
    }
  };
  /** A batch with corrections; samples that are drawn next stand in for those that were dropped. */
  const corrected = ({ indices }: Batch): Batch => {
    corrections!.refresh().forEach(warn);
    const taken: [number, Sample][] = [];
    const left = [...indices];
    for (let dropped = 0; taken.length < indices.length;) {
      const index = left.shift() ?? cursor.next(1)[0]!;
      const sample = correct(samples.at(index)!);
      if (sample) taken.push([index, sample]);
      else if (++dropped > cursor.round + indices.length) {
        throw new UserError('every sample is dropped', { where: config.data.corrections });
      }
    }
    return { indices: taken.map(([index]) => index), samples: taken.map(([, sample]) => sample) };
  };

  const files = {
    // From the first model: the checkpoint that a resumed run was loaded from is removed in time.
    ...withExperiment(
      policy.peft ? adapterFiles(policy.model, policy.peft) : modelFiles(policy.model, config.model),
      experiment.settings,
    ),
    [optimizerFile]: (file: string) => saveSafetensors(file, optimizer.state()),
  };
  let canSave = true;
  const save = async (best?: { metric: string; value: number }): Promise<void> => {
    const own = { cursor: finished, forms, data: prints, model: modelPrint };
    const progress: Progress = { ...own, ...(evaluates && { evaluates }) };
    canSave = false;
    const path = await run.saveCheckpoint(step, { files, state: progress }, best);
    [canSave, savedStep, lastSaved] = [true, step, path];
    onEvent({ kind: 'checkpoint', step, path });
  };
  /** After a failure that leaves the weights as they were: what was done since the last checkpoint is not lost. */
  const saveDone = async (error: unknown): Promise<void> => {
    const isWhole = canSave && config.objective.updatesPerBatch === 1;
    if (!(fileError(error) instanceof UserError) || !isWhole || savedStep === step) return;
    await save().catch((cause: unknown) => warn(messageOf(cause)));
  };

  let spoiled = 0;
  /** After a step whose numbers were not finite, and whose update was left out. */
  const goOn = (what: string): void => {
    if (++spoiled === spoiledInARow) {
      throw new UserError(`nothing was finite in ${spoiled} steps: ${what}`, {
        remedy: 'Go back to an earlier checkpoint (--from STEP) with a lower optimizer.learningRate.',
      });
    }
    if (config.onNonFinite === 'rollback') restore(policy, optimizer, lastSaved);
    const done =
      config.onNonFinite === 'skip' ? 'the update was left out' : `the weights are those of ${lastSaved} again`;
    warn(`${what}\n  ${done}`);
  };

  /** Evaluation and checkpoint after a step. Evaluation that is stopped is made up for when the run goes on. */
  const conclude = async (): Promise<void> => {
    const last = step === config.steps;
    evaluates = config.eval.every > 0 && (step % config.eval.every === 0 || last);
    const isEvaluated = evaluates;
    if (evaluates) {
      const { maxNewTokens } = experiment.settings;
      const evaluated = await evaluatePolicy(policy, experiment, validation, { maxNewTokens, signal });
      metrics = evaluated.metrics;
      await met.add(evaluated.samples.map(({ sample, subject }) => asked(scorer, { sample, ...subject })));
      run.write('evaluations', step, evaluated.samples.map(answerRecord));
      run.log({ type: 'eval', step, metrics, n: validation.length });
      onEvent({ kind: 'eval', step, metrics });
      evaluates = false;
    }
    if (last || isEvaluated || step % config.checkpoint.every === 0) {
      await save(isEvaluated ? { metric: 'reward', value: metrics.reward ?? 0 } : undefined);
    }
  };

  /** Algorithm 1 under the eyes of the watchdog. @returns why nothing came of it, where numbers were not finite */
  const attempt = async (learningRate: number): Promise<StepResult | NotFinite> => {
    const work = stepWork(config, step + 1);
    const take = (onPhase?: ObservePhase): Promise<StepResult> => {
      const observed: ObservePhase = (phase, from, to) => {
        watchdog.end(phase);
        watchdog.begin(AFTER[phase]);
        onPhase?.(phase, from, to);
      };
      watchdog.begin('prompt');
      return trainStep({ ...context, onPhase: observed }, draw, step + 1, work, learningRate, forms)
        .catch((error: unknown) => {
          throw inStep(step + 1, error);
        })
        .finally(() => watchdog.stop());
    };
    try {
      return await (profile?.step(step + 1, step + 1 === config.steps, optimizer, take) ?? take());
    } catch (error) {
      const cause = error instanceof UserError ? error.cause : undefined;
      if (cause instanceof NotFinite && config.onNonFinite !== 'stop') return cause;
      throw error;
    }
  };

  /** @returns whether the step was made: there is something to evaluate and to keep */
  const takeStep = async (): Promise<boolean> => {
    const learningRate = config.optimizer.learningRate * optim.scheduleFactor(step, config.steps, config.optimizer);
    const result = await attempt(learningRate);
    step++;
    finished = drawn;
    if (result instanceof NotFinite) {
      // Not even rollouts came of it.
      metrics = { nonFinite: 1 };
      run.log({ type: 'step', step, metrics, seconds: {} });
      onEvent({ kind: 'step', step, steps: config.steps, metrics });
      goOn(result.message);
      return false;
    }
    forms = result.forms;
    const described = describeStep(step, result, scorer, learningRate, config.record.tokens);
    metrics = described.event.metrics;
    run.log(described.event);
    run.writeGroups(step, described.groups);
    await met.add(
      result.groups.map(({ sample, prompt }) => {
        const { rendered, frames: shown } = prompt;
        const { task } = scorerOf(scorer, sample);
        return asked(scorer, { sample, rendered, frames: shown, truth: task.parseTruth(sample, shown) });
      }),
    );
    onEvent({ kind: 'step', step, steps: config.steps, metrics });
    guards.flatMap((guard) => guard.observe(metrics) ?? []).forEach(warn);
    if (result.update.nonFinite === undefined) spoiled = 0;
    else goOn(result.update.nonFinite);
    return true;
  };

  try {
    try {
      // What there is to roll back to.
      if (config.onNonFinite === 'rollback' && !checkpoint) await save();
      if (saved?.evaluates) await conclude();
      while (step < config.steps && !signal?.aborted) {
        if (await takeStep()) await conclude();
      }
    } catch (error) {
      // The step, or the evaluation, in progress is dropped.
      if (!signal?.aborted || error !== signal.reason) throw error;
    }
    if (savedStep !== step) await save();
    const interrupted = step < config.steps || evaluates;
    run.log({ type: 'end', step, reason: interrupted ? 'interrupted' : 'done' });
    return { run: config.output, steps: step, metrics, interrupted };
  } catch (error) {
    await saveDone(error);
    const explained = await explainTraining(error, config);
    logFailure(run, step, explained);
    throw explained;
  } finally {
    optimizer.dispose();
    if (reference !== policy.model) reference?.dispose();
  }
}
