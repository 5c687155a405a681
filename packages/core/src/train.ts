/** A run from config to trained policy: data checked, steps, events, evaluation, checkpoints, resume. */
import { join } from 'node:path';

import { info, optim, SafetensorsFile, saveSafetensors, scope, setNumThreads, type Tensor } from '@visurf/torch';

import { featureBytes } from './budgets.ts';
import type { Config } from './config/schema.ts';
import { DataCursor, type CursorState } from './data/cursor.ts';
import { loadDataset } from './data/dataset.ts';
import { fileError, messageOf, UserError } from './errors.ts';
import { evaluatePolicy } from './eval/evaluate.ts';
import { modelFiles } from './export/huggingface.ts';
import type { FormHistory } from './label/align.ts';
import { TakeoverGuard } from './label/takeover.ts';
import { localModel, type DownloadProgress } from './hub/model.ts';
import { precisionWarning } from './machine.ts';
import { FeatureCache } from './model/features.ts';
import { loadModel } from './model/load.ts';
import { adapterFiles, isAdapterDirectory } from './model/peft.ts';
import type { QwenVL } from './model/qwen.ts';
import { loadLocalPolicy, type Policy } from './policy.ts';
import { labelsThatCannotWin } from './reward/labelcheck.ts';
import { makeScorers, type RewardFunction, type Scorer } from './reward/reward.ts';
import { describeStep } from './record.ts';
import { Profile, type ProfileOptions, type ProfileSummary } from './profile.ts';
import type { Checkpoint } from './run/checkpoint.ts';
import { describeEnvironment } from './run/environment.ts';
import { readEvents } from './run/events.ts';
import { requireEmpty, Run } from './run/run.ts';
import { checkParadigm, joinsGroups, stepTerms } from './schedule/paradigm.ts';
import { askAll } from './ask.ts';
import {
  ask,
  trainStep,
  type Batch,
  type ObservePhase,
  type Question,
  type StepContext,
  type StepResult,
} from './step.ts';
import { makeTasks, truthReader, type TaskMix } from './tasks/mix.ts';
import type { Sample } from './types.ts';
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
  | { readonly kind: 'download'; readonly progress: DownloadProgress };

export interface TrainOptions {
  /** Continue the run in `config.output` from its last checkpoint. */
  readonly resume?: boolean;
  readonly onEvent?: (event: TrainEvent) => void;
  /** When aborted, the step in progress is dropped, a checkpoint of the last finished one is written, and `train` returns. */
  readonly signal?: AbortSignal;
  /** Reward terms of one's own, added to those of the task. */
  readonly rewards?: readonly RewardFunction[];
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
}

const optimizerFile = 'optimizer.safetensors';

/** The tasks that samples name, with the config's parameters. */
export function configuredTasks(
  { data, task, tasks }: Pick<Config, 'data' | 'task' | 'tasks'>,
  samples: readonly Sample[],
): TaskMix {
  return makeTasks(samples, { ...tasks, [data.task]: task });
}

async function loadSamples(file: string, config: Config, limit?: number): Promise<Sample[]> {
  return loadDataset(file, {
    task: config.data.task,
    limit,
    truths: (samples) => truthReader(configuredTasks(config, samples)),
  });
}

/** Both files are read before one of them is complained about. */
export async function loadData(config: Config): Promise<{ samples: Sample[]; validation: Sample[] }> {
  const { data, eval: evaluation } = config;
  const faults = new Set<string>();
  const load = async (file: string, limit?: number): Promise<Sample[]> => {
    try {
      return await loadSamples(file, config, limit);
    } catch (error) {
      if (!(error instanceof UserError)) throw error;
      faults.add(error.message);
      return [];
    }
  };
  const samples = await load(data.train);
  const validation = evaluation.every > 0 && data.validation ? await load(data.validation, evaluation.limit) : [];
  if (faults.size > 0) throw new UserError([...faults].join('\n'));
  return { samples, validation };
}

/** What training needs to know of the labels before it starts. */
function labelWarning(questions: readonly Question[], scorer: Scorer, config: Config): string | undefined {
  if (!joinsGroups(config)) return undefined;
  const losing = labelsThatCannotWin(scorer, questions, config.label).map(({ sample }) => sample.id);
  if (losing.length === 0) return undefined;
  const named = `${losing.slice(0, 5).join(', ')}${losing.length > 5 ? ', ...' : ''}`;
  return `the label of ${losing.length} of ${questions.length} samples cannot win against a wrong answer with thinking (${named}): lower task.weights.thinking`;
}

function loadOptimizer(optimizer: optim.Optimizer, file: string): void {
  using saved = new SafetensorsFile(file);
  scope(() => optimizer.loadState(new Map(saved.names.map((name): [string, Tensor] => [name, saved.get(name)]))));
}

/**
 * Trains as the config says.
 * @throws UserError for bad input, before the first step wherever it can be known before.
 */
export async function train(config: Config, options: TrainOptions = {}): Promise<TrainResult> {
  const { onEvent = () => undefined, signal, resume = false } = options;
  checkParadigm(config);
  if (!resume) requireEmpty(config.output);
  if (config.threads !== undefined) setNumThreads(config.threads);
  const { samples, validation } = await loadData(config);
  const trained = new Set(samples.map(({ task }) => task));
  const others = validation.filter(({ task }) => !trained.has(task));
  const scorer = makeScorers(configuredTasks(config, [...samples, ...others]), options.rewards);
  const model = await localModel(config.model, {
    revision: config.revision,
    onProgress: (progress) => onEvent({ kind: 'download', progress }),
    onWarning: (message) => onEvent({ kind: 'warning', message }),
  });
  if (isAdapterDirectory(model)) {
    throw new UserError('training starts from a whole model, and this is an adapter', {
      where: config.model,
      remedy: 'merge it into its base first: visurf merge',
    });
  }

  const environment = describeEnvironment({ ...info() });
  const resumed = resume ? await Run.resume(config.output, config, environment) : undefined;
  let run = resumed?.run;
  try {
    for (const message of resumed?.warnings ?? []) onEvent({ kind: 'warning', message });
    const checkpoint = resumed?.checkpoint;
    const { device, precision } = config;
    // With LoRA the weights do not change: those that are saved in bfloat16 need no float32 beside it.
    const dtype = config.train.lora ? 'auto' : 'float32';
    using policy = loadLocalPolicy(checkpoint?.directory ?? model, { ...config.data, device, precision, dtype });
    if (config.train.lora && !checkpoint) policy.addAdapter(config.train.lora, config.seed);
    const questions = await askAll({ ...config.data, policy, scorer }, [...samples, ...validation]);
    const warning = labelWarning(questions.slice(0, samples.length), scorer, config);
    if (warning) onEvent({ kind: 'warning', message: warning });
    const onProfile = (summary: ProfileSummary): void => onEvent({ kind: 'profile', ...summary });
    const record = () => options.profile && new Profile(options.profile, config.output, onProfile);
    // A file that cannot be written is refused before there is a run.
    using named = options.profile?.file === undefined ? undefined : record();
    run ??= Run.start(config.output, config, environment);
    const slow = precisionWarning(precision, device);
    if (slow) {
      run.log({ type: 'warning', step: checkpoint?.step ?? 0, message: slow });
      onEvent({ kind: 'warning', message: slow });
    }
    const local = { ...config, model };
    using profile = named ?? record();
    const data = { config: local, scorer, samples, validation };
    return await trainPolicy({ ...data, policy, run, checkpoint, profile, onEvent, signal });
  } catch (error) {
    throw fileError(error, {
      where: config.output,
      remedy: 'Mend that and resume the run: it goes on from its last checkpoint.',
    });
  } finally {
    run?.close();
  }
}

interface Training {
  readonly config: Config;
  readonly policy: Policy;
  readonly scorer: Scorer;
  readonly samples: readonly Sample[];
  readonly validation: readonly Sample[];
  readonly run: Run;
  readonly checkpoint: Checkpoint | undefined;
  readonly profile: Profile | undefined;
  readonly onEvent: (event: TrainEvent) => void;
  readonly signal: AbortSignal | undefined;
}

/** The initial policy, for a KL penalty: a second model, or the same with its adapter off. */
function referenceOf({ model, peft }: Policy, { objective, model: directory, device }: Config): QwenVL | undefined {
  if (objective.kl.coefficient === 0) return undefined;
  return peft ? model : loadModel(directory, { device });
}

/** What a resumed run had reached. */
function lastMetrics(directory: string): Readonly<Record<string, number>> {
  const last = readEvents(join(directory, 'events.jsonl')).findLast(({ type }) => type === 'eval' || type === 'step');
  return last && 'metrics' in last ? last.metrics : {};
}

/** Of the steps that a resumed run has made. */
const stepMetrics = (directory: string): Readonly<Record<string, number>>[] =>
  readEvents(join(directory, 'events.jsonl')).flatMap((event) => (event.type === 'step' ? [event.metrics] : []));

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
  scorer,
  samples,
  validation,
  run,
  checkpoint,
  profile,
  onEvent,
  signal,
}: Training): Promise<TrainResult> {
  const parameters = trainable(policy.model, config.train);
  const optimizer = makeOptimizer(parameters, config.optimizer);
  if (checkpoint) loadOptimizer(optimizer, join(checkpoint.directory, optimizerFile));
  const reference = referenceOf(policy, config);
  if (![...parameters.keys()].some((key) => key.startsWith('visual.'))) {
    const features = new FeatureCache(featureBytes);
    for (const model of [policy.model, reference]) if (model) model._features = features;
  }
  const context: StepContext = {
    config,
    policy,
    scorer,
    learner: { model: policy.model, reference, parameters, optimizer },
  };
  const saved = checkpoint?.state as Progress | undefined;
  const cursor = new DataCursor(samples.length, config.seed, saved?.cursor);
  let forms = saved?.forms ?? [];
  let step = checkpoint?.step ?? 0;
  let savedStep = step;
  let metrics = checkpoint ? lastMetrics(run.directory) : {};
  const guard = new TakeoverGuard(checkpoint ? stepMetrics(run.directory) : []);

  // Samples of the batch after the one that was drawn: their images are decoded while the model computes.
  const pull = (): Batch & { readonly after: CursorState } => {
    const indices = cursor.next(config.promptsPerStep);
    return { indices, samples: indices.flatMap((index) => samples[index] ?? []), after: cursor.state };
  };
  let drawn = cursor.state;
  let upcoming = pull();
  const draw = (): Batch => {
    const batch = upcoming;
    drawn = batch.after;
    upcoming = pull();
    policy.encoder.prefetch(upcoming.samples.flatMap(({ images }) => images));
    return batch;
  };

  const save = async (best?: { metric: string; value: number }): Promise<void> => {
    const progress: Progress = { cursor: drawn, forms };
    const files = {
      // From the first model: the checkpoint that a resumed run was loaded from is removed in time.
      ...(policy.peft ? adapterFiles(policy.model, policy.peft) : modelFiles(policy.model, config.model)),
      [optimizerFile]: (file: string) => saveSafetensors(file, optimizer.state()),
    };
    const path = await run.saveCheckpoint(step, { files, state: progress }, best);
    savedStep = step;
    onEvent({ kind: 'checkpoint', step, path });
  };

  try {
    while (step < config.steps && !signal?.aborted) {
      const terms = stepTerms(config, step + 1);
      const learningRate = config.optimizer.learningRate * optim.scheduleFactor(step, config.steps, config.optimizer);
      const take = (onPhase?: ObservePhase): Promise<StepResult> =>
        trainStep({ ...context, onPhase }, draw, step + 1, terms, learningRate, forms).catch((error: unknown) => {
          throw inStep(step + 1, error);
        });
      const result = await (profile?.step(step + 1, step + 1 === config.steps, optimizer, take) ?? take());
      step++;
      forms = result.forms;
      const described = describeStep(step, result, scorer, learningRate);
      metrics = described.event.metrics;
      run.log(described.event);
      run.writeGroups(step, described.groups);
      onEvent({ kind: 'step', step, steps: config.steps, metrics });
      const takeover = guard.observe(metrics);
      if (takeover) {
        run.log({ type: 'warning', step, message: takeover });
        onEvent({ kind: 'warning', message: `step ${step}: ${takeover}` });
      }

      const last = step === config.steps;
      const due = config.eval.every > 0 && (step % config.eval.every === 0 || last);
      if (due) {
        const evaluated = await evaluatePolicy(
          policy,
          scorer,
          validation,
          (sample) => ask({ ...config.data, policy, scorer }, sample),
          {
            // Not stopped halfway: a resumed run has the same evaluations as one that was not stopped.
            maxNewTokens: config.eval.maxNewTokens ?? config.rollout.maxNewTokens,
          },
        );
        metrics = evaluated.metrics;
        run.log({ type: 'eval', step, metrics, n: validation.length });
        onEvent({ kind: 'eval', step, metrics });
      }
      if (last || due || step % config.checkpoint.every === 0) {
        await save(due ? { metric: 'reward', value: metrics.reward ?? 0 } : undefined);
      }
    }
    if (savedStep !== step) await save();
    run.log({ type: 'end', step, reason: step < config.steps ? 'interrupted' : 'done' });
    return { run: config.output, steps: step, metrics, interrupted: step < config.steps };
  } catch (error) {
    logFailure(run, step, error);
    throw error;
  } finally {
    optimizer.dispose();
    if (reference !== policy.model) reference?.dispose();
  }
}
