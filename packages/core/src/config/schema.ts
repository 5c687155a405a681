/**
 * The configuration of a run: every key, its default and its meaning, once.
 *
 * The parameters under `task` belong to the task that `data.task` names, those under `tasks.NAME` to task NAME: its own
 * schema checks them.
 */
import { z } from 'zod';
import { PARADIGMS, paradigmFaults, type Fault } from '../schedule/paradigm.ts';

const positive = z.number().positive();
const count = z.int().positive();
const fraction = z.number().min(0).max(1);

/**
 * How token terms become one loss: `sum` over a sequence divided by `normalizer` (1: equation 9 as written; `auto`, which
 * is the default: the longest response, `rollout.maxNewTokens`, as Dr.GRPO has it), `mean` over a sequence (GRPO), or `mean`
 * over all tokens of the batch (DAPO). Sequences and prompts are then averaged.
 */
const aggregate = (tokens: 'sum' | 'mean', over: 'sequence' | 'batch') =>
  z
    .strictObject({
      tokens: z.enum(['sum', 'mean']).default(tokens),
      over: z.enum(['sequence', 'batch']).default(over),
      normalizer: z.preprocess((value) => (value === 'auto' ? undefined : value), positive.optional()).optional(),
    })
    .prefault({});

/** The share that `data.validation` asks for, where it is one. */
export const shareOf = (validation: string | undefined): number | undefined => {
  const percent = /^\s*(\d+(?:\.\d+)?)\s*%\s*$/.exec(validation ?? '')?.[1];
  return percent === undefined ? undefined : Number(percent) / 100;
};

const data = z.strictObject({
  /** Training samples: JSONL, or a file or folder of another format (docs/data.md). */
  train: z.string(),
  /** Held-out samples, for evaluation during training; `10%`: of the training samples, which are then not trained on. */
  validation: z.string().optional(),
  /** Of both files: the name of a format. */
  format: z.string().default('auto'),
  /** How boxes of another format are written; unset: as the format says, or as their numbers tell. */
  boxes: z.enum(['xyxy', 'xywh', 'cxcywh']).optional(),
  /** What their numbers are: pixels, shares, thousandths or percent of the picture, pixels of a scaled picture. */
  units: z.enum(['pixels', 'unit', 'thousandths', 'percent', 'resized']).optional(),
  /** How answers are read, written and rewarded. */
  task: z.string().default('grounding'),
  /** Template of the user turn in place of the task's own: text with `{Question}`, or a file that holds it. */
  prompt: z.string().optional(),
  /** System turn; unset: the chat template's own. */
  system: z.string().optional(),
  /** A sample with a longer prompt is refused. */
  maxPromptTokens: count.default(4096),
  /** Area in pixels that an image is scaled down to; unset: as the model's own files say. */
  maxPixels: count.optional(),
  /** Area in pixels that an image is scaled up to; unset: as the model's own files say. */
  minPixels: count.optional(),
});

/** Sampling of the responses that training learns from. */
const rollout = z
  .strictObject({
    /** Responses per prompt, G. */
    group: count.default(8),
    temperature: positive.default(1),
    /** Nucleus; 1 keeps all tokens. */
    topP: positive.max(1).default(1),
    /** Most likely tokens kept; 0 keeps all. */
    topK: z.int().min(0).default(0),
    repetitionPenalty: positive.default(1),
    maxNewTokens: count.default(512),
    /**
     * Batches of prompts that a step samples at most, until it is full of groups that teach (DAPO's dynamic sampling);
     * 1: it takes the groups as they come.
     */
    dynamicSampling: count.default(1),
    /** Train from other sampling than temperature 1 without truncation, which the loss then takes for the policy's own. */
    allowTruncatedSampling: z.boolean().default(false),
  })
  .prefault({});

const range = (start: number, end: number) =>
  z.strictObject({ start: fraction.default(start), end: fraction.default(end) }).prefault({});

/** How SFT and RL share the steps. */
const mix = z
  .strictObject({
    /** Steps of SFT and then of RL, over and over. */
    round: z.strictObject({ sft: count.default(1), rl: count.default(1) }).prefault({}),
    /** Along which the weight and the label rate change. */
    curve: z.enum(['linear', 'cosine']).default('linear'),
    /** Weight of SFT, mu; RL weighs 1 - mu. */
    weight: range(1, 0),
    /** Share of the prompts that carry a label. */
    labelRate: range(1, 0),
    /** Steps over which the weight rises from 0 to its start. */
    warmupSteps: z.int().min(0).default(0),
    /** Steps that the change takes; unset: all after the warm-up. */
    decaySteps: count.optional(),
    /** Share of the prompts of a batch that are for SFT. */
    share: fraction.default(0.5),
  })
  .prefault({});

/** Switches were `true` and `false`: on means the default. */
const spelledOut = (value: unknown): unknown => (value === true ? 'reward' : value === false ? 'off' : value);

/** The label, and control of its reward where it is a response of the group. */
const label = z
  .strictObject({
    /** Surface form: the one rollouts use most, the most likely one, the task's first, or the one rollouts use least. */
    align: z.enum(['format', 'likelihood', 'off', 'rarest']).default('format'),
    /** Thinking mark of the label: none (on), full (off), or the mean of its rollouts (neutral). */
    eliminate: z.enum(['on', 'off', 'neutral']).default('on'),
    /** Of a label with reasoning of its own: the same (eliminate), or the thinking mark that it earns (keep). */
    thinking: z.enum(['eliminate', 'keep']).default('eliminate'),
    /** Whether the label enters every group, or those in which no rollout is as accurate. */
    inject: z.enum(['always', 'on-failure']).default('always'),
    /** Switch the label off where a rollout earns as much in all, where one is as accurate, or never. */
    smooth: z.preprocess(spelledOut, z.enum(['reward', 'accuracy', 'off'])).default('reward'),
    /** What the advantage of the label is multiplied by. */
    weight: positive.default(1),
  })
  .prefault({});

const objective = z
  .strictObject({
    /** The importance ratio is kept in [1 - low, 1 + high]. */
    clip: z.strictObject({ low: fraction.default(0.2), high: positive.default(0.2) }).prefault({}),
    /** What an advantage is divided by: a standard deviation of the group's rewards, or nothing (Dr.GRPO). */
    std: z.enum(['sample', 'population', 'none']).default('sample'),
    /** What a reward is compared to: the mean of its group, or of the other responses (RLOO). */
    baseline: z.enum(['mean', 'leave-one-out']).default('mean'),
    /** Importance ratio of every token, or of the whole response (GSPO). */
    ratio: z.enum(['token', 'sequence']).default('token'),
    /** Gamma of the ratio p / (p + gamma) that a label has in LUFFY; unset: its ratio is that of a rollout. */
    labelShaping: positive.optional(),
    aggregate: aggregate('sum', 'sequence'),
    kl: z
      .strictObject({
        /** Weight of the k3 penalty towards the reference policy; 0: none, and no reference model is kept. */
        coefficient: z.number().min(0).default(0),
        /** Towards the policy that training starts from, or the base model without its adapter. */
        reference: z.enum(['start', 'base']).default('start'),
        /** Whether the penalty covers labels, too. */
        labels: z.boolean().default(false),
      })
      .prefault({}),
    /** Whether a rollout that was cut off is left out of the loss (`mask`); its reward counts for its group either way. */
    truncated: z.enum(['keep', 'mask']).default('keep'),
    /** Optimiser steps on each batch of rollouts. */
    updatesPerBatch: count.default(1),
  })
  .prefault({});

const optimizer = z
  .strictObject({
    name: z.enum(['adamw', 'sgd']).default('adamw'),
    learningRate: positive.default(1e-6),
    betas: z.tuple([fraction, fraction]).default([0.9, 0.999]),
    weightDecay: z.number().min(0).default(0),
    /** Largest global norm of the gradient. */
    clipNorm: positive.default(1),
    /** Steps over which the learning rate rises linearly to its full value. */
    warmupSteps: z.int().min(0).default(0),
    decay: z.enum(['linear', 'cosine', 'constant']).default('constant'),
    /** Where decay ends, as a fraction of the learning rate. */
    floor: fraction.default(0),
  })
  .prefault({});

/** Low-rank adapters in place of full training; unset: all weights are trained. */
const lora = z.strictObject({
  /** r */
  rank: count.default(16),
  /** The adapter is scaled by alpha / rank. */
  alpha: positive.default(32),
  /** Scale by alpha / sqrt(rank) instead. */
  rsLora: z.boolean().default(false),
  /** Share of the inputs of an adapter that are dropped while training. */
  dropout: z.number().min(0).lt(1).default(0),
  /**
   * Layers with an adapter, as PEFT's `target_modules`: names that a layer's path ends with, or one regular expression
   * for whole paths such as `model.language_model.layers.0.self_attn.q_proj`. Unset: all linear layers of the decoder,
   * and with `vision` of the vision tower's blocks.
   */
  targets: z.union([z.string(), z.array(z.string()).min(1)]).optional(),
  /** Whether layers of the vision tower are met, too. */
  vision: z.boolean().default(false),
});

const shape = z.strictObject({
  /**
   * Policy to start from: a Hugging Face directory, or `owner/name` on the hub. Training goes on from an adapter with that
   * adapter.
   */
  model: z.string(),
  /** The base of a model that is an adapter, where it is not where the adapter's file says. */
  base: z.string().optional(),
  /** Of a model on the hub: branch, tag or commit; unset: its main branch. */
  revision: z.string().optional(),
  /** Directory of the run. */
  output: z.string(),
  seed: z.int().min(0).max(0xffffffff).default(0),
  device: z.enum(['cpu', 'cuda']).default('cpu'),
  /** `bfloat16`: products in bfloat16, master weights in float32. */
  precision: z.enum(['float32', 'bfloat16']).default('float32'),
  /** Threads of the tensor library; unset: its own choice. */
  threads: count.optional(),
  /** Modules of one's own with tasks and rewards. */
  plugins: z.array(z.string()).default([]),
  data,
  /** Parameters of the task: weights, thresholds, reward. */
  task: z.record(z.string(), z.unknown()).prefault({}),
  /** Parameters of further tasks that samples name, by name of the task. */
  tasks: z.record(z.string(), z.record(z.string(), z.unknown())).prefault({}),
  /** Whether a thought earns its mark `always`, or only beside an answer whose accuracy is above 0. */
  thinking: z.enum(['always', 'whenCorrect']).default('always'),
  paradigm: z.enum(PARADIGMS).default('visurf'),
  /** Batches of prompts, all phases together. */
  steps: count,
  /** How many of the steps are SFT, before RLVR. */
  sftSteps: count.optional(),
  promptsPerStep: count.default(32),
  rollout,
  label,
  objective,
  sft: z
    .strictObject({
      aggregate: aggregate('mean', 'batch'),
      /** What the loss of a token is multiplied by: 1, its probability p (DFT), or p (1 - p) (CHORD). */
      weighting: z.enum(['uniform', 'probability', 'uncertainty']).default('uniform'),
    })
    .prefault({}),
  mix,
  optimizer,
  train: z
    .strictObject({
      /** Leave the vision tower as it is; the tokens of an image are then computed once and remembered. */
      freezeVision: z.boolean().default(false),
      lora: lora.optional(),
      microBatch: z
        .strictObject({
          /** Prompts, with all their responses, whose activations are in memory at once, at most. */
          prompts: count.default(4),
          /** Their tokens, padding included, at most: rows of like length go together. */
          tokens: count.optional(),
        })
        .prefault({}),
      /** Compute activations again in the backward pass: less memory, about a third more time. */
      checkpointActivations: z.boolean().default(false),
    })
    .prefault({}),
  eval: z
    .strictObject({
      /** Steps between evaluations on `data.validation`; 0: none. */
      every: z.int().min(0).default(0),
      /** Samples used, from the start of the file; unset: all. */
      limit: count.optional(),
      /** Unset: as in `rollout`. */
      maxNewTokens: count.optional(),
    })
    .prefault({}),
  checkpoint: z
    .strictObject({
      /** Steps between checkpoints. */
      every: count.default(50),
      /** Latest checkpoints kept; the best one stays as well. */
      keep: count.default(2),
    })
    .prefault({}),
});

/** As it is written: what is left to `auto` is open. */
type Written = z.output<typeof shape>;

/** With a number for the normalizer. */
type Aggregated<Terms extends { readonly aggregate: Written['sft']['aggregate'] }> = Omit<Terms, 'aggregate'> & {
  aggregate: Omit<Terms['aggregate'], 'normalizer'> & { normalizer: number };
};

export type Config = Omit<Written, 'objective' | 'sft'> & {
  objective: Aggregated<Written['objective']>;
  sft: Aggregated<Written['sft']>;
};

/** Gives what was left to `auto` its value. */
export function resolveAuto(config: Written): Config {
  const { objective, sft, rollout } = config;
  const resolved = ({ tokens, over, normalizer }: Written['sft']['aggregate']) => {
    return { tokens, over, normalizer: normalizer ?? (tokens === 'sum' ? rollout.maxNewTokens : 1) };
  };
  return {
    ...config,
    objective: { ...objective, aggregate: resolved(objective.aggregate) },
    sft: { ...sft, aggregate: resolved(sft.aggregate) },
  };
}

/** Rules over several keys. */
function* conflicts(config: Written): Generator<Fault> {
  const { rollout, objective, sft } = config;
  yield* paradigmFaults(config);
  const truncated =
    rollout.temperature !== 1 || rollout.topP !== 1 || rollout.topK !== 0 || rollout.repetitionPenalty !== 1;
  if (truncated && !rollout.allowTruncatedSampling) {
    yield {
      path: ['rollout'],
      message:
        'the loss takes rollouts for samples of the policy itself, so training needs temperature 1, topP 1, topK 0 and ' +
        'repetitionPenalty 1 (rollout.allowTruncatedSampling: true trains from others anyway)',
    };
  }
  if (objective.baseline === 'leave-one-out' && objective.std !== 'none') {
    yield { path: ['objective', 'baseline'], message: 'leave-one-out goes with std: none' };
  }
  for (const [path, { tokens, over, normalizer }] of [
    [['objective', 'aggregate'], objective.aggregate],
    [['sft', 'aggregate'], sft.aggregate],
  ] as const) {
    if (tokens === 'sum' && over === 'batch') yield { path, message: 'tokens: sum goes with over: sequence' };
    if (tokens === 'mean' && (normalizer ?? 1) !== 1) {
      yield { path: [...path, 'normalizer'], message: 'only tokens: sum has a normalizer' };
    }
  }
  yield* loraConflicts(config.train);
  if (config.eval.every > 0 && config.data.validation === undefined) {
    yield { path: ['eval', 'every'], message: 'evaluation needs data.validation' };
  }
  const share = shareOf(config.data.validation);
  if (share !== undefined && !(share > 0 && share < 1)) {
    yield { path: ['data', 'validation'], message: 'a share must be above 0% and below 100%' };
  }
  const { minPixels, maxPixels } = config.data;
  if (minPixels !== undefined && maxPixels !== undefined && minPixels > maxPixels) {
    yield { path: ['data', 'minPixels'], message: `minPixels is more than maxPixels (${maxPixels})` };
  }
}

function* loraConflicts({ lora, freezeVision }: Config['train']): Generator<Fault> {
  if (lora?.vision && freezeVision) {
    yield { path: ['train', 'lora', 'vision'], message: 'freezeVision leaves nothing of the vision tower to adapt' };
  }
  if (typeof lora?.targets === 'string' && !isPattern(lora.targets)) {
    yield { path: ['train', 'lora', 'targets'], message: 'is no regular expression' };
  }
}

function isPattern(text: string): boolean {
  try {
    return Boolean(new RegExp(text));
  } catch {
    return false;
  }
}

export const configSchema = shape.superRefine((config, context) => {
  for (const { path, message } of conflicts(config)) context.addIssue({ code: 'custom', path: [...path], message });
});

/** Keys of the object at a path, for suggestions; empty where there is no object with known keys. */
export function keysAt(schema: z.ZodType, path: readonly PropertyKey[]): readonly string[] {
  let current: unknown = schema;
  for (const part of path) current = fields(current)?.[String(part)];
  return Object.keys(fields(current) ?? {});
}

/** Fields of an object schema under any number of wrappers (default, prefault, optional). */
function fields(schema: unknown): Record<string, unknown> | undefined {
  let current = schema;
  while (current instanceof z.ZodDefault || current instanceof z.ZodPrefault || current instanceof z.ZodOptional) {
    current = current.unwrap();
  }
  return current instanceof z.ZodObject ? current.shape : undefined;
}
