/**
 * The configuration of a run: every key, its default, and all that is known of it, once. docs/configuration.md is made
 * of this (`make docs`).
 *
 * The parameters under `task` belong to the task that `data.task` names, those under `tasks.NAME` to task NAME: its own
 * schema checks them.
 */
import { z } from 'zod';
import { PARADIGMS, type Paradigm } from '../schedule/paradigm.ts';
import { paradigmNames } from '../schedule/registry.ts';
import { deviceNames, isDeviceName } from './device.ts';
import { everyParadigm, key, section, type KeyFacts, type Users } from './facts.ts';
import { conflicts } from './rules.ts';

const positive = z.number().positive();
const count = z.int().positive();
const whole = z.int().min(0);
const fraction = z.number().min(0).max(1);
const decay = z.number().min(0).lt(1);
const flag = z.boolean();
const deviceError = { error: `expected one of ${deviceNames}` };

const samples: Users = (paradigm) => paradigm.samples;
const members: Users = ({ label }) => label === 'member';
const imitates: Users = ({ label }) => label === 'target';
const labelled: Users = ({ label }) => label !== 'none';
const only =
  (...names: readonly Paradigm[]): Users =>
  ({ name }) =>
    names.some((each) => each === name);
const gradual = only('progressive', 'chord');

/** A step's prompts are all alike, so that others may take their places. */
const alike: Users = (paradigm) => members(paradigm) || only('rlvr', 'sft-then-rlvr', 'interleaved')(paradigm);

/** Label control of methods that publish none. */
const uncontrolled: KeyFacts['defaults'] = { 's-grpo': 'off', luffy: 'off' };

/** One of several sets that training draws from. */
const trainingSet = z.union([z.string(), z.strictObject({ file: z.string(), weight: positive.max(1e9).default(1) })]);

const data = z.strictObject({
  train: key(
    'training samples: JSONL, a file or folder of another format, or a data set of the hub, `owner/name` or ' +
      '`owner/name@revision` ([data.md](data.md)); or a list of them, of names or `{file, weight}`: weights are shares of ' +
      'the prompts drawn',
    z.union([z.string(), z.array(trainingSet).min(1)]),
    { path: 'data', effect: 'breaks' },
  ),
  split: key(
    'the part of training sets that is read, of those whose files or folders name parts',
    z.string().optional(),
    {
      effect: 'breaks',
      unset: 'all; of a set on the hub `train`',
    },
  ),
  validation: key(
    'held-out samples, for evaluation during training; `10%`: of the training samples',
    z.string().optional(),
    {
      path: 'data',
    },
  ),
  corrections: key(
    'a file of lines `{id, action: accept | drop}` or `{id, action: fix, solution}` about training samples, which may grow ' +
      'while training runs ([data.md](data.md))',
    z.string().optional(),
    { path: 'file', unset: 'none' },
  ),
  format: key('name of their format; `auto`: found out', z.string().default('auto')),
  boxes: key(
    'how boxes of another format are written: `xyxy`, `xywh` or `cxcywh`',
    z.enum(['xyxy', 'xywh', 'cxcywh']).optional(),
    {
      unset: 'found out',
    },
  ),
  units: key(
    'what their numbers are: `pixels`, shares of the picture (`unit`), `thousandths`, `percent`, pixels of a scaled picture (`resized`)',
    z.enum(['pixels', 'unit', 'thousandths', 'percent', 'resized']).optional(),
    { unset: 'found out' },
  ),
  allowOutside: key(
    'images may lie outside of the folder of their data file, also by links',
    z.boolean().default(false),
    { effect: 'harmless' },
  ),
  maxImagePixels: key('width times height of an image file; larger ones are refused', count.default(100_000_000), {
    effect: 'harmless',
  }),
  task: key('how answers are read, written and rewarded ([tasks.md](tasks.md))', z.string().default('grounding')),
  prompt: key('template of the user turn: text with `{Question}`, or a file that holds it', z.string().optional(), {
    path: 'template',
    unset: "the task's",
  }),
  system: key('system turn', z.string().optional(), { unset: "the chat template's" }),
  maxPromptTokens: key('a sample with a longer prompt is refused', count.default(4096)),
  maxPixels: key('area in pixels that an image is scaled down to', count.optional(), { unset: "the model's" }),
  minPixels: key('area in pixels that an image is scaled up to', count.optional(), { unset: "the model's" }),
  think: key(
    'whether prompts open a thought, where the chat template can (`enable_thinking`)',
    z.boolean().optional(),
    {
      unset: "the chat template's",
    },
  ),
});

const rollout = section(
  {
    group: key('responses per prompt, G', count.default(8)),
    temperature: key('of the sampling', positive.default(1)),
    topP: key('nucleus; 1 keeps all tokens', positive.max(1).default(1)),
    topK: key('most likely tokens kept; 0 keeps all', whole.default(0)),
    repetitionPenalty: key('logits of tokens that were said are divided by it; 1: none', positive.default(1)),
    // Evaluation has it for its default.
    maxNewTokens: key('longer responses are cut off; also the default of evaluation', count.default(512), {
      users: everyParadigm,
    }),
    dynamicSampling: key(
      'batches of prompts that a step samples at most, until it is full of groups whose rewards ' +
        'differ; 1: groups as they come',
      count.default(1),
      { users: alike },
    ),
    allowTruncatedSampling: key(
      "train from other sampling than the defaults, which the loss then takes for the policy's own",
      flag.default(false),
    ),
    backend: key(
      'who samples: this program (`local`), or servers of `vllm` or `sglang`, which get the weights of every step ' +
        '([servers.md](servers.md))',
      z.enum(['local', 'vllm', 'sglang']).default('local'),
    ),
    servers: key('their addresses, such as `http://127.0.0.1:8000`', z.array(z.string()).default([]), {
      effect: 'harmless',
      unset: 'none',
    }),
    serverCommand: key(
      'a command that starts them, which ends with the run; what it says is in `server.log` of the run',
      z.string().optional(),
      { effect: 'harmless', unset: 'they run already' },
    ),
    serverFolder: key(
      'a folder that servers see under the same path, for the weights of a step',
      z.string().optional(),
      { path: 'file', effect: 'harmless', unset: '`weights` in the run directory' },
    ),
    timeout: key(
      'seconds that an answer of a server may take, and that it may be away',
      positive.max(86_400).default(600),
      {
        effect: 'harmless',
      },
    ),
    concurrent: key('prompts that a server is sent at once', count.default(64), { effect: 'harmless' }),
    ahead: key(
      'steps that rollouts are sampled ahead of the weights: `0`, or `1`, where those of the next step are sampled while ' +
        'this one is learned from',
      z.literal([0, 1]).default(0),
    ),
    correction: key(
      'of rollouts by servers, or ahead: their terms are weighted by pi / mu, at most the cap (`truncate`), or responses ' +
        'whose pi / mu lies outside of 1 / cap .. cap leave the loss (`mask`), or nothing is done (`none`)',
      z.enum(['truncate', 'mask', 'none']).default('truncate'),
    ),
    cap: key('the largest pi / mu that counts in full', z.number().gt(1).default(3)),
  },
  { users: samples },
).prefault({});

const range = (meaning: string, before: Range, published: Partial<Record<Paradigm, Range>> = {}) => {
  const of = (end: keyof Range) =>
    Object.fromEntries(Object.entries(published).map(([paradigm, values]) => [paradigm, values[end]]));
  return {
    start: key(`${meaning}, before its change`, fraction.default(before.start), { defaults: of('start') }),
    end: key(`${meaning}, after it`, fraction.default(before.end), { defaults: of('end') }),
  };
};

interface Range {
  readonly start: number;
  readonly end: number;
}

/**
 * How SFT and RL share the steps. CHORD: mu falls from 0.9 to 0.05, and tokens of labels weigh p (1 - p) (arXiv
 * 2508.11408, equation 5 and appendix A.1).
 */
const mix = section({
  round: section(
    {
      sft: key('steps of SFT, before those of RL, over and over', count.default(1)),
      rl: key('steps of RL', count.default(1)),
    },
    { users: only('interleaved') },
  ).prefault({}),
  curve: key(
    '`linear` or `cosine`: along which the weight and the label rate change',
    z.enum(['linear', 'cosine']).default('linear'),
    {
      users: gradual,
      defaults: { chord: 'cosine' },
    },
  ),
  weight: section(
    range('weight of SFT, mu (RL weighs 1 - mu)', { start: 1, end: 0 }, { chord: { start: 0.9, end: 0.05 } }),
    {
      users: gradual,
    },
  ).prefault({}),
  labelRate: section(range('share of the prompts that carry a label', { start: 1, end: 0 }), {
    users: only('progressive'),
  }).prefault({}),
  warmupSteps: key('steps over which the weight rises from 0 to its start', whole.default(0), {
    users: gradual,
    scales: true,
  }),
  decaySteps: key('steps that the change takes after the warm-up', count.optional(), {
    users: gradual,
    unset: 'all that are left',
    scales: true,
  }),
  share: key('share of the prompts of a batch that are for SFT', fraction.default(0.5), { users: only('data-mixing') }),
}).prefault({});

/** Switches were `true` and `false`: on means the default. */
const spelledOut = (value: unknown): unknown => (value === true ? 'reward' : value === false ? 'off' : value);

/**
 * The label, and control of its reward where it is a response of the group. S-GRPO: the label enters groups that
 * failed, with the highest reward (arXiv 2604.16557).
 */
const label = section(
  {
    align: key(
      'the label is written in the form that rollouts use most (`format`), the most likely one (`likelihood`), or ' +
        "the task's first (`off`); `rarest`, the one that rollouts use least, is for measuring what the others are " +
        'worth. Rollouts of the step itself count, with those of the last 16 steps; where a step has labels and no ' +
        'rollouts, a few samples of the base do, drawn before training',
      z.enum(['format', 'likelihood', 'off', 'rarest']).default('format'),
      { users: labelled, defaults: uncontrolled },
    ),
    eliminate: key(
      'thinking mark of the label: none (`on`), full (`off`), the mean of its rollouts (`neutral`)',
      z.enum(['on', 'off', 'neutral']).default('on'),
      { defaults: uncontrolled },
    ),
    thinking: key(
      'thinking mark of a label with reasoning of its own: as `label.eliminate` says (`eliminate`), or the one that ' +
        'it earns (`keep`)',
      z.enum(['eliminate', 'keep']).default('eliminate'),
    ),
    inject: key(
      'the label enters every group (`always`), or those in which no rollout is as accurate (`on-failure`)',
      z.enum(['always', 'on-failure']).default('always'),
      { defaults: { 's-grpo': 'on-failure' } },
    ),
    smooth: key(
      'the label is switched off where a rollout earns as much in all as the label does after `eliminate` ' +
        '(`reward`), or where one is as accurate (`accuracy`), or never (`off`). `true` means ' +
        '`reward`, and `false` `off`',
      z.preprocess(spelledOut, z.enum(['reward', 'accuracy', 'off'])).default('reward'),
      { defaults: uncontrolled },
    ),
    weight: key('what the advantage of the label is multiplied by', positive.default(1)),
  },
  { users: members },
).prefault({});

/** How token terms become one loss; sequences and prompts are then averaged. */
const aggregate = (
  tokens: 'sum' | 'mean',
  over: 'sequence' | 'batch',
  [ofTokens, ofOver, ofNormalizer]: readonly [string, string, string],
) =>
  section({
    tokens: key(ofTokens, z.enum(['sum', 'mean']).default(tokens)),
    over: key(ofOver, z.enum(['sequence', 'batch']).default(over)),
    normalizer: key(
      ofNormalizer,
      z.preprocess((value) => (value === 'auto' ? undefined : value), positive.optional()).optional(),
      { unset: 'auto' },
    ),
  }).prefault({});

const objective = section(
  {
    clip: section({
      low: key('the importance ratio is at least 1 - low', fraction.default(0.2)),
      high: key('the importance ratio is at most 1 + high', positive.default(0.2)),
    }).prefault({}),
    std: key(
      'what advantages are divided by: `sample` or `population` standard deviation of the group, or `none` (Dr.GRPO)',
      z.enum(['sample', 'population', 'none']).default('sample'),
    ),
    baseline: key(
      'what a reward is compared to: the `mean` of its group, or that of the other responses (`leave-one-out`, RLOO, ' +
        'with `std: none`)',
      z.enum(['mean', 'leave-one-out']).default('mean'),
    ),
    ratio: key(
      'importance ratio of every `token`, or of the whole response (`sequence`, GSPO)',
      z.enum(['token', 'sequence']).default('token'),
    ),
    // The label is taken as sampled with probability 1; gamma as in arXiv 2504.14945, section 3.2.
    labelShaping: key(
      'gamma of the ratio p / (p + gamma) that a label has in place of the importance ratio (LUFFY)',
      positive.optional(),
      { users: members, defaults: { luffy: 0.1 }, unset: 'none' },
    ),
    aggregate: aggregate('sum', 'sequence', [
      'tokens become a loss by their `sum` over a response divided by the normalizer (Dr.GRPO), or by their `mean`',
      'a mean is taken over each `sequence` (GRPO), or over all tokens of the `batch` (DAPO)',
      '`auto` is `rollout.maxNewTokens` for a sum, else 1 (1 is equation 9 as written); the run has the number',
    ]),
    kl: section({
      coefficient: key(
        'weight of the k3 penalty towards the reference policy, the difference of log-probabilities clamped to 10; ' +
          '0: none, and no reference model is kept',
        z.number().min(0).default(0),
      ),
      reference: key(
        'the reference policy: what training starts from (`start`), or of an adapter its base (`base`)',
        z.enum(['start', 'base']).default('start'),
      ),
      labels: key('whether the penalty covers labels, too', flag.default(false), { users: members }),
    }).prefault({}),
    truncated: key(
      'a rollout that was cut off at `rollout.maxNewTokens` is taken for any other (`keep`), or left out of the loss ' +
        '(`mask`); its reward counts for its group either way',
      z.enum(['keep', 'mask']).default('keep'),
    ),
    updatesPerBatch: key('optimiser steps on each batch of rollouts', count.default(1), { users: everyParadigm }),
  },
  { users: samples },
).prefault({});

const optimizer = section({
  name: key('`adamw` or `sgd`', z.enum(['adamw', 'sgd']).default('adamw'), { effect: 'breaks' }),
  learningRate: key('of all weights that are trained', positive.default(1e-6)),
  // 1 would divide by 0 in the correction of the first step.
  betas: key('of Adam, below 1', z.tuple([decay, decay]).default([0.9, 0.999])),
  weightDecay: key('decoupled', z.number().min(0).default(0)),
  states: key(
    "AdamW's moments as the weights are (`full`), or in a byte each between updates (`8bit`, as bitsandbytes has them; " +
      'of tensors with fewer than 4,096 elements in full)',
    z.enum(['full', '8bit']).default('full'),
    { effect: 'breaks' },
  ),
  clipNorm: key('largest global norm of the gradient', positive.default(1)),
  warmupSteps: key('steps over which the learning rate rises linearly to its full value', whole.default(0)),
  decay: key(
    'after that: `linear`, `cosine` or `constant`',
    z.enum(['linear', 'cosine', 'constant']).default('constant'),
  ),
  floor: key('where decay ends, as a fraction of the learning rate', fraction.default(0)),
}).prefault({});

/** Low-rank adapters in place of full training; unset: all weights are trained. */
const lora = section(
  {
    rank: key(
      'r; low-rank adapters ([lora.md](lora.md)) in place of all weights, where `train.lora` is given',
      count.default(16),
    ),
    alpha: key('the adapter is scaled by alpha / rank', positive.default(32)),
    rsLora: key('scale by alpha / sqrt(rank) instead', flag.default(false)),
    dropout: key(
      "share of an adapter's inputs that are dropped while training; drawn anew for every " +
        'micro-batch, by seed and step',
      z.number().min(0).lt(1).default(0),
      { effect: 'course' },
    ),
    targets: key(
      "layers with an adapter, as PEFT's `target_modules`: names that a layer's path ends with, or one regular " +
        'expression for whole paths such as `model.language_model.layers.0.self_attn.q_proj`',
      z.union([z.string(), z.array(z.string()).min(1)]).optional(),
      { unset: "all linear layers of the decoder, and with `vision` of the vision tower's blocks" },
    ),
    vision: key('whether layers of the vision tower are met, too', flag.default(false)),
    quantize: key(
      '`nf4`: linear layers of the decoder in four bits while adapters are trained, as bitsandbytes packs them ' +
        '([lora.md](lora.md)); 0.56 bytes a weight in place of 2 or 4',
      z.literal('nf4').optional(),
      { unset: 'weights as they are' },
    ),
  },
  { effect: 'breaks' },
);

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
  train: section({
    freezeVision: key(
      'leave the vision tower as it is; the tokens of an image are then computed once and remembered',
      flag.default(false),
      { effect: 'breaks' },
    ),
    lora: lora.optional(),
    microBatch: section({
      prompts: key(
        'prompts, with all their responses, whose activations are in memory at once, at most; ' +
          'changes no number but rounding',
        count.default(4),
      ),
      tokens: key(
        'their tokens, padding included, at most: rows of like length go together, as many as fit',
        count.optional(),
        {
          unset: 'no limit',
        },
      ),
    }).prefault({}),
    offloadActivations: key(
      'with `checkpointActivations` on a GPU: what is kept of a forward pass, the stream before every block, waits in the ' +
        "host's memory for the backward pass; same numbers",
      flag.default(false),
      { effect: 'harmless' },
    ),
    checkpointActivations: key(
      'compute activations again in the backward pass: less memory, about a third more time',
      flag.default(false),
    ),
  }).prefault({}),
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
