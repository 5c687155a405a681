/**
 * The configuration of a run: every key, its default, and all that is known of it, once. docs/configuration.md is made
 * of this (`make docs`).
 *
 * The parameters under `task` belong to the task that `data.task` names, those under `tasks.NAME` to task NAME: its own
 * schema checks them.
 */
import { z } from 'zod';
import { PARADIGMS } from '../schedule/paradigm.ts';
import { paradigmNames } from '../schedule/registry.ts';
import { deviceNames, isDeviceName } from './device.ts';
import { key, section } from './facts.ts';
import { conflicts } from './rules.ts';
import { data } from './sections/data.ts';
import { aggregate, count, imitates, only, positive, samples, whole } from './sections/kinds.ts';
import { label } from './sections/label.ts';
import { mix } from './sections/mix.ts';
import { objective } from './sections/objective.ts';
import { optimizer, train } from './sections/optimizer.ts';
import { rollout } from './sections/rollout.ts';

const deviceError = { error: `expected one of ${deviceNames}` };

const PRESETS = ['grpo', 'drgrpo', 'dapo', 'gspo', 'rloo'] as const;
export type Preset = (typeof PRESETS)[number];

/** The name of a paradigm that is known when a configuration is read: plugins are loaded before. */
const paradigmName = z.string().check(({ value, issues }) => {
  const values = paradigmNames();
  if (!values.includes(value)) issues.push({ code: 'invalid_value', values, input: value });
});

const shape = z.strictObject({
  model: key(
    'checkpoint to start from: a directory in Hugging Face layout, or `owner/name` on the hub; training goes on from ' +
      'an adapter with that adapter',
    z.string(),
    { path: 'model', effect: 'breaks' },
  ),
  base: key(
    "the base of a `model` that is an adapter, where it is not where the adapter's file says",
    z.string().optional(),
    {
      path: 'model',
      effect: 'breaks',
    },
  ),
  revision: key('branch, tag or commit of a model on the hub', z.string().optional(), {
    unset: 'main',
    effect: 'breaks',
  }),
  output: key('the run directory, or its place in an object store, `s3://bucket/prefix`', z.string(), {
    path: 'output',
    effect: 'harmless',
  }),
  seed: key('of the order of the data and of sampling', whole.max(0xffffffff).default(0)),
  device: key(
    '`cpu`, `cuda`, `cuda:N` (the N-th GPU, from 0), or `auto`: a GPU where there is one',
    z.string(deviceError).refine(isDeviceName, deviceError).default('cpu'),
  ),
  precision: key(
    '`float32`; `bfloat16`: products in bfloat16, master weights in float32; or `float64`: everything in it, weights and ' +
      'checkpoints, too, for tests of equality',
    z.enum(['float32', 'bfloat16', 'float64']).default('float32'),
  ),
  stream: key(
    'what layers hand to each other: `float32`, or with `precision: bfloat16` also `bfloat16`, which moves and keeps half ' +
      'as much; for GPUs ([gpu.md](gpu.md#the-stream-in-bfloat16))',
    z.enum(['float32', 'bfloat16']).default('float32'),
  ),
  threads: key('of the tensor library, at most 1024', count.max(1024).optional(), {
    unset: 'its own choice',
    effect: 'harmless',
  }),
  // Compared by what they hold, where a run is resumed.
  plugins: key(
    "modules of one's own: tasks, rewards, readers, paradigms ([extending.md](extending.md))",
    z.preprocess((value) => (typeof value === 'string' ? [value] : value), z.array(z.string())).default([]),
    { path: 'file', effect: 'harmless', unset: 'none' },
  ),
  data,
  task: key('parameters of the task that `data.task` names', z.record(z.string(), z.unknown()).prefault({})),
  tasks: key(
    'parameters of further tasks that samples name, by name of the task',
    z.record(z.string(), z.record(z.string(), z.unknown())).prefault({}),
  ),
  thinking: key(
    'of every task: whether a thought earns its mark `always`, or only beside an answer whose accuracy is above 0 ' +
      '(`whenCorrect`)',
    z.enum(['always', 'whenCorrect']).default('always'),
  ),
  paradigm: key(
    `${PARADIGMS.map((each) => `\`${each}\``).join(', ')} ([paradigms.md](paradigms.md)), or one of a plugin ` +
      '([extending.md](extending.md#a-paradigm))',
    paradigmName.default('visurf'),
  ),
  preset: key(
    'a published variant of GRPO: `grpo`, `drgrpo`, `dapo`, `gspo` or `rloo` fills in what ' +
      '[paradigms.md](paradigms.md#variants-of-grpo) says, under what is written; the run has the result in its place',
    z.enum(PRESETS).optional(),
    { users: samples, unset: 'none' },
  ),
  steps: key('batches of prompts, all phases together; or say `epochs`', count.optional(), {
    effect: 'harmless',
    unset: '',
  }),
  epochs: key(
    'passes over the training data, in place of `steps`: steps = ceil(epochs x samples / ' +
      'promptsPerStep); the run has their number',
    positive.optional(),
    { effect: 'harmless', unset: '' },
  ),
  sftSteps: key('how many of the steps are SFT, before RLVR', count.optional(), {
    users: only('sft-then-rlvr'),
    unset: '',
    scales: true,
  }),
  promptsPerStep: key('prompts of a batch', count.default(32)),
  onNonFinite: key(
    'where a loss or a gradient is not a finite number: the run ends (`stop`), leaves that update out (`skip`), or goes ' +
      'on from the weights of its last checkpoint (`rollback`); it ends after 5 such steps in a row. Weights that an update ' +
      'has made no finite numbers are rolled back, or end the run',
    z.enum(['stop', 'skip', 'rollback']).default('stop'),
  ),
  reward: section(
    {
      seconds: key(
        'that one call of a reward of your own may take ([plugins.md](plugins.md))',
        positive.max(86_400).default(30),
      ),
      retries: key('calls after one that failed', whole.max(100).default(0)),
      onFailure: key(
        'where all of them fail the run ends (`stop`), or the response leaves its group, with a warning (`skip`)',
        z.enum(['stop', 'skip']).default('stop'),
      ),
      processes: key('that rewards of plugins run in, beside this one; 0: in this one', whole.max(256).default(0)),
    },
    { users: samples, effect: 'harmless' },
  ).prefault({}),
  rollout,
  label,
  objective,
  sft: section(
    {
      aggregate: aggregate('mean', 'batch', [
        '`sum` over a label divided by the normalizer, or `mean`',
        'a mean is taken over each `sequence`, or over all tokens of the `batch`',
        'as for `objective`',
      ]),
      // DFT: tokens weigh p (arXiv 2508.05629, equation 9).
      weighting: key(
        'what the loss of a token is multiplied by: 1 (`uniform`), its probability p (`probability`, DFT), or p (1 - ' +
          'p) (`uncertainty`, CHORD); no gradient flows through it',
        z.enum(['uniform', 'probability', 'uncertainty']).default('uniform'),
        { defaults: { dft: 'probability', chord: 'uncertainty' } },
      ),
    },
    { users: imitates },
  ).prefault({}),
  mix,
  optimizer,
  distributed: section(
    {
      timeout: key(
        'seconds that the others of several processes wait for one ([distributed.md](distributed.md))',
        positive.max(86_400).default(600),
      ),
    },
    { effect: 'harmless' },
  ).prefault({}),
  train,
  eval: section(
    {
      every: key(
        'steps between evaluations on `data.validation`; 0: before the first step and after the last alone, as in any case',
        whole.default(0),
        { scales: true },
      ),
      patience: key(
        'evaluations in a row without a better `reward` than any before, after which training ends; with `eval.every`',
        count.optional(),
        { unset: 'never' },
      ),
      limit: key('samples used, from the start of the file', count.optional(), { unset: 'all' }),
      maxNewTokens: key('longest answer', count.optional(), { unset: '`rollout.maxNewTokens`' }),
    },
    { effect: 'harmless' },
  ).prefault({}),
  record: section(
    {
      tokens: key(
        'ids and log-probabilities in `groups/`: of no rollouts (`none`), of those whose accuracy is 0 (`failed`), or of `all`',
        z.enum(['none', 'failed', 'all']).default('none'),
      ),
      images: key(
        'pictures in `images/` of the run: `thumbnails` of at most 512 pixels a side, `copies` of their own size, or `none`',
        z.enum(['thumbnails', 'copies', 'none']).default('thumbnails'),
      ),
    },
    { effect: 'harmless' },
  ).prefault({}),
  checkpoint: section(
    {
      every: key('steps between checkpoints', count.default(50), { scales: true }),
      keep: key('latest checkpoints kept; the best one stays as well', count.default(2)),
    },
    { effect: 'harmless' },
  ).prefault({}),
});

/** A configuration as it is written: what is left to `auto`, to a preset or to epochs is open. */
export type Written = z.output<typeof shape>;

/** Terms with a number for the normalizer. */
type Aggregated<Terms extends { readonly aggregate: Written['sft']['aggregate'] }> = Omit<Terms, 'aggregate'> & {
  aggregate: Omit<Terms['aggregate'], 'normalizer'> & { normalizer: number };
};

export type Config = Omit<Written, 'preset' | 'steps' | 'objective' | 'sft'> & {
  /** Infinite where `epochs` stand for a number that the data have not decided yet (`resolveSteps`). */
  steps: number;
  objective: Aggregated<Written['objective']>;
  sft: Aggregated<Written['sft']>;
};

/** Gives what was left to `auto` its value. A preset has filled in what it stands for, and is gone. */
export function resolveAuto(config: Written): Config {
  const { preset: _, ...rest } = config;
  const { objective, sft, rollout } = rest;
  const resolved = ({ tokens, over, normalizer }: Written['sft']['aggregate']) => {
    return { tokens, over, normalizer: normalizer ?? (tokens === 'sum' ? rollout.maxNewTokens : 1) };
  };
  return {
    ...rest,
    steps: rest.steps ?? Infinity,
    objective: { ...objective, aggregate: resolved(objective.aggregate) },
    sft: { ...sft, aggregate: resolved(sft.aggregate) },
  };
}

/** The configuration with the steps that `epochs` come to. @param samples of the training data */
export function resolveSteps(config: Config, samples: number): Config {
  const { epochs, ...rest } = config;
  if (epochs === undefined) return config;
  const batches = (epochs * samples) / config.promptsPerStep;
  // 0.07 x 100 is 7, whatever binary fractions make of it.
  return { ...rest, steps: Math.ceil(Number(batches.toPrecision(12))) };
}

export const configSchema = shape.superRefine((config, context) => {
  for (const { path, message } of conflicts(config)) context.addIssue({ code: 'custom', path: [...path], message });
});
