/** A run from config to trained policy: data checked, steps, events, evaluation, checkpoints, resume. */
import { join } from 'node:path';

import { info, optim, SafetensorsFile, saveSafetensors, setNumThreads, type Tensor } from '@visurf/torch';

import type { Config } from './config/schema.ts';
import { DataCursor, type CursorState } from './data/cursor.ts';
import { loadDataset } from './data/dataset.ts';
import { messageOf } from './errors.ts';
import { evaluatePolicy } from './eval/evaluate.ts';
import { modelFiles } from './export/huggingface.ts';
import type { FormHistory } from './label/align.ts';
import { loadModel } from './model/load.ts';
import { loadPolicy, type Policy } from './policy.ts';
import { labelsThatCannotWin } from './reward/labelcheck.ts';
import { makeScorer, type RewardFunction, type Scorer } from './reward/reward.ts';
import { describeStep } from './record.ts';
import type { Checkpoint } from './run/checkpoint.ts';
import { describeEnvironment } from './run/environment.ts';
import { requireEmpty, Run } from './run/run.ts';
import { checkParadigm, stepTerms } from './schedule/paradigm.ts';
import { askAll } from './ask.ts';
import { ask, trainStep, type Question, type StepContext } from './step.ts';
import { taskDefinition } from './tasks/registry.ts';
import type { Task } from './tasks/task.ts';
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
  | { readonly kind: 'warning'; readonly message: string };

export interface TrainOptions {
  /** Continue the run in `config.output` from its last checkpoint. */
  readonly resume?: boolean;
  readonly onEvent?: (event: TrainEvent) => void;
  /** When aborted, the step in progress is dropped, a checkpoint of the last finished one is written, and `train` returns. */
  readonly signal?: AbortSignal;
  /** Reward terms of one's own, added to those of the task. */
  readonly rewards?: readonly RewardFunction[];
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

/** The task that a config names, made for these samples. */
export function makeTask(config: Pick<Config, 'data' | 'task'>, samples: readonly Sample[]): Task {
  const definition = taskDefinition(config.data.task);
  return definition.create(definition.parameters.parse(config.task), samples);
}

async function loadSamples(file: string, config: Config, limit?: number): Promise<Sample[]> {
  return loadDataset(file, { task: config.data.task, limit, truths: (samples) => makeTask(config, samples) });
}

/** What training needs to know of the labels before it starts. */
function labelWarning(questions: readonly Question[], scorer: Scorer, config: Config): string | undefined {
  if (config.paradigm !== 'visurf') return undefined;
  const losing = labelsThatCannotWin(scorer, questions, config.label).map(({ sample }) => sample.id);
  if (losing.length === 0) return undefined;
  const named = `${losing.slice(0, 5).join(', ')}${losing.length > 5 ? ', ...' : ''}`;
  return `the label of ${losing.length} of ${questions.length} samples cannot win against a wrong answer with thinking (${named}): lower task.weights.thinking`;
}

function loadOptimizer(optimizer: optim.Optimizer, file: string): void {
  using saved = new SafetensorsFile(file);
  optimizer.loadState(new Map(saved.names.map((name): [string, Tensor] => [name, saved.get(name)])));
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
  const samples = await loadSamples(config.data.train, config);
  const validation =
    config.eval.every > 0 && config.data.validation
      ? await loadSamples(config.data.validation, config, config.eval.limit)
      : [];
  const scorer = makeScorer(makeTask(config, samples), options.rewards);

  const environment = describeEnvironment({ ...info() });
  const resumed = resume ? await Run.resume(config.output, config, environment) : undefined;
  let run = resumed?.run;
  try {
    for (const message of resumed?.warnings ?? []) onEvent({ kind: 'warning', message });
    const checkpoint = resumed?.checkpoint;
    const { device, precision } = config;
    using policy = loadPolicy(checkpoint?.directory ?? config.model, { ...config.data, device, precision });
    const warning = labelWarning(await askAll({ ...config.data, policy, scorer }, samples), scorer, config);
    if (warning) onEvent({ kind: 'warning', message: warning });
    run ??= Run.start(config.output, config, environment);
    return await trainPolicy({ config, policy, scorer, samples, validation, run, checkpoint, onEvent, signal });
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
  readonly onEvent: (event: TrainEvent) => void;
  readonly signal: AbortSignal | undefined;
}

async function trainPolicy({
  config,
  policy,
  scorer,
  samples,
  validation,
  run,
  checkpoint,
  onEvent,
  signal,
}: Training): Promise<TrainResult> {
  const parameters = trainable(policy.model, config.train);
  const optimizer = makeOptimizer(parameters, config.optimizer);
  if (checkpoint) loadOptimizer(optimizer, join(checkpoint.directory, optimizerFile));
  const reference =
    config.objective.kl.coefficient > 0 ? loadModel(config.model, { device: config.device }) : undefined;
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
  let metrics: Readonly<Record<string, number>> = {};

  const save = async (best?: { metric: string; value: number }): Promise<void> => {
    const progress: Progress = { cursor: cursor.state, forms };
    const files = {
      ...modelFiles(policy.model, policy.directory),
      [optimizerFile]: (file: string) => saveSafetensors(file, optimizer.state()),
    };
    const path = await run.saveCheckpoint(step, { files, state: progress }, best);
    savedStep = step;
    onEvent({ kind: 'checkpoint', step, path });
  };

  try {
    while (step < config.steps && !signal?.aborted) {
      const indices = cursor.next(config.promptsPerStep);
      const chosen = indices.flatMap((index) => samples[index] ?? []);
      const terms = stepTerms(config, step + 1);
      const learningRate = config.optimizer.learningRate * optim.scheduleFactor(step, config.steps, config.optimizer);
      const result = await trainStep(context, chosen, indices, step + 1, terms, learningRate, forms);
      step++;
      forms = result.forms;
      const described = describeStep(step, result, scorer, learningRate);
      metrics = described.event.metrics;
      run.log(described.event);
      run.writeGroups(step, described.groups);
      onEvent({ kind: 'step', step, steps: config.steps, metrics });

      const last = step === config.steps;
      const due = config.eval.every > 0 && (step % config.eval.every === 0 || last);
      if (due) {
        const evaluated = await evaluatePolicy(
          policy,
          scorer,
          validation,
          (sample) => ask({ ...config.data, policy, scorer }, sample),
          {
            maxNewTokens: config.eval.maxNewTokens ?? config.rollout.maxNewTokens,
            signal,
          },
        );
        metrics = evaluated.metrics;
        run.log({ type: 'eval', step, metrics, n: validation.length });
        onEvent({ kind: 'eval', step, metrics });
      }
      if (last || due || step % config.checkpoint.every === 0) {
        await save(due ? { metric: 'reward', value: metrics['reward'] ?? 0 } : undefined);
      }
    }
    if (savedStep !== step) await save();
    run.log({ type: 'end', step, reason: step < config.steps ? 'interrupted' : 'done' });
    return { run: config.output, steps: step, metrics, interrupted: step < config.steps };
  } catch (error) {
    run.log({ type: 'end', step, reason: 'failed', message: messageOf(error) });
    throw error;
  } finally {
    optimizer.dispose();
    reference?.dispose();
  }
}
