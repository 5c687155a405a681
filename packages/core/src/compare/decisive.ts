/**
 * What decides the result of a configuration: everything in which it differs from the values below, so that results which
 * are kept stay those of their configuration when the schema grows.
 */
import { onlyUsed } from '../config/paradigm.ts';
import type { Config } from '../config/schema.ts';
import { trainingSets } from '../config/sets.ts';
import { taskDefinition } from '../tasks/registry.ts';

/**
 * Values that go without saying, by key; those of parameters of a task are the task's. A new key gets a line here, with
 * the value under which everything is as it was before it. A line never changes: a default that does makes another
 * result, and is said from then on.
 */
const UNSAID: Readonly<Record<string, unknown>> = {
  seed: 0,
  device: 'cpu',
  precision: 'float32',
  stream: 'float32',
  'data.task': 'grounding',
  'data.format': 'auto',
  'data.maxPromptTokens': 4096,
  thinking: 'always',
  paradigm: 'visurf',
  promptsPerStep: 32,
  onNonFinite: 'stop',
  'reward.seconds': 30,
  'reward.retries': 0,
  'reward.onFailure': 'stop',
  'reward.processes': 0,
  'optimizer.states': 'full',
  'distributed.timeout': 600,
  'rollout.group': 8,
  'rollout.temperature': 1,
  'rollout.topP': 1,
  'rollout.topK': 0,
  'rollout.repetitionPenalty': 1,
  'rollout.maxNewTokens': 512,
  'rollout.dynamicSampling': 1,
  'rollout.allowTruncatedSampling': false,
  'rollout.backend': 'local',
  'rollout.servers': [],
  'rollout.timeout': 600,
  'rollout.concurrent': 64,
  'rollout.ahead': 0,
  'rollout.correction': 'truncate',
  'rollout.cap': 3,
  'label.align': 'format',
  'label.eliminate': 'on',
  'label.thinking': 'eliminate',
  'label.inject': 'always',
  'label.smooth': 'reward',
  'label.weight': 1,
  'objective.clip.low': 0.2,
  'objective.clip.high': 0.2,
  'objective.std': 'sample',
  'objective.baseline': 'mean',
  'objective.ratio': 'token',
  'objective.aggregate.tokens': 'sum',
  'objective.aggregate.over': 'sequence',
  'objective.kl.coefficient': 0,
  'objective.kl.reference': 'start',
  'objective.kl.labels': false,
  'objective.truncated': 'keep',
  'objective.updatesPerBatch': 1,
  'sft.aggregate.tokens': 'mean',
  'sft.aggregate.over': 'batch',
  'sft.aggregate.normalizer': 1,
  'sft.weighting': 'uniform',
  'mix.round.sft': 1,
  'mix.round.rl': 1,
  'mix.curve': 'linear',
  'mix.weight.start': 1,
  'mix.weight.end': 0,
  'mix.labelRate.start': 1,
  'mix.labelRate.end': 0,
  'mix.warmupSteps': 0,
  'mix.share': 0.5,
  'optimizer.name': 'adamw',
  'optimizer.learningRate': 1e-6,
  'optimizer.betas': [0.9, 0.999],
  'optimizer.weightDecay': 0,
  'optimizer.clipNorm': 1,
  'optimizer.warmupSteps': 0,
  'optimizer.decay': 'constant',
  'optimizer.floor': 0,
  'train.freezeVision': false,
  'train.lora.rsLora': false,
  'train.lora.dropout': 0,
  'train.lora.vision': false,
  'train.microBatch.prompts': 4,
  'train.checkpointActivations': false,
  'train.offloadActivations': false,
  'eval.every': 0,
  'record.tokens': 'none',
  'record.images': 'thumbnails',
  'checkpoint.every': 50,
  'checkpoint.keep': 2,
};

/** Keys of where things are: files count by what they hold (`jobs.ts`), threads by nothing. */
const PLACED = [
  ...['model', 'base', 'output', 'threads', 'plugins', 'data.train', 'data.validation'],
  ...['rollout.servers', 'rollout.serverCommand', 'rollout.serverFolder'],
];

/** Keys of what may be read, which decide nothing of what is. */
const ALLOWED = ['data.allowOutside', 'data.maxImagePixels'];

const isObject = (value: unknown): value is object =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** Every leaf (a list is one) by dotted key. */
function leaves(values: object, prefix = ''): [string, unknown][] {
  return Object.entries(values).flatMap(([key, value]: [string, unknown]): [string, unknown][] => {
    if (value === undefined) return [];
    return isObject(value) ? leaves(value, `${prefix}${key}.`) : [[prefix + key, value]];
  });
}

const same = (a: unknown, b: unknown): boolean => JSON.stringify(a) === JSON.stringify(b);

/** What is said of parameters of a task: all but what goes without saying of it. */
function saidOfTask(name: string, parameters: object): [string, unknown][] {
  const definition = taskDefinition(name);
  const own = (values: unknown) => (isObject(values) ? leaves(values, `tasks.${name}.`) : []);
  const unsaid = new Map(own(definition.unsaid ?? definition.parameters.safeParse({}).data));
  const given = new Map(own(parameters));
  // Weights that are left out follow the reward.
  const left = own(definition.decide?.(parameters, [])).filter(([key]) => unsaid.has(key) && !given.has(key));
  return [...given, ...left].filter(([key, value]) => !same(value, unsaid.get(key)));
}

/** Keys and values that decide what comes of a configuration, of those that its paradigm uses; in the order of the keys. */
export function said(config: Config): (readonly [string, unknown])[] {
  const { task, tasks, ...rest } = config;
  const keys = leaves(onlyUsed(rest)).filter(
    ([key, value]) => ![...PLACED, ...ALLOWED].includes(key) && !same(value, UNSAID[key]),
  );
  const parameters = Object.entries({ ...tasks, [config.data.task]: task }).flatMap(([name, given]) =>
    saidOfTask(name, given),
  );
  const sets = trainingSets(config.data.train);
  const weights = sets.length > 1 ? [['data.train', sets.map(({ weight }) => weight)] as const] : [];
  return [...keys, ...weights, ...parameters].sort(([a], [b]) => (a < b ? -1 : 1));
}

/** Those among them that decide what is asked and how answers are scored, but for the length of answers. */
export const saidOfQuestions = (config: Config): (readonly [string, unknown])[] =>
  said(config).filter(
    ([key]) => key !== 'data.train' && /^(data|tasks)\.|^(thinking|device|precision|stream)$/.test(key),
  );
