/** What the dry run does: a step of every family in every mode, and the commands. */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

import { families } from '../../packages/core/src/families/index.ts';
import type { LoadOptions } from '../../packages/core/src/families/load.ts';
import { tinyModel } from '../../packages/core/src/testing/oracle.ts';
import { smallModel, variants } from '../../packages/core/src/testing/whole-step.ts';
import { shapesOf3B, shapesOf7B, writeCheckpoint, type ConfigJson } from '../checkpoint.ts';
import { root } from './prepare.ts';

/** A step of training. */
export interface Step {
  readonly model: string;
  /** Of the configuration. */
  readonly changes: Readonly<Record<string, unknown>>;
  readonly dtype?: LoadOptions['dtype'];
  /** Memory of the card, where a usual one is not enough. */
  readonly gigabytes?: number;
  /** So many cards share it, of which the first is counted; what they exchange is copied. */
  readonly among?: number;
}

/** Arguments of the command line, one command after the other; the last is counted. */
export type Commands = readonly (readonly string[])[];

/**
 * `refused`: what the last command says as it ends with exit code 2, on a card of so many gigabytes; `cards`: of the
 * machine, one unless said. Of several processes the first is counted.
 */
export type Case =
  | { readonly step: Step }
  | {
      readonly commands: Commands;
      readonly refused?: string;
      readonly gigabytes?: number;
      readonly cards?: number;
    };

/** What is trained on. */
export const sample = {
  image: join(root, 'oracle/fixtures/images/wide-340x270.png'),
  problem: 'the red circle',
  solution: [{ bbox_2d: [2, 3, 20, 30] }],
};

const image = join(root, 'oracle/fixtures/images/wide-150x62.png');
const prompt = ['--image', image, '--prompt', 'the red car'];
const device = ['--device', 'cuda'];
const sampled = ['--temperature', '1', '--top-p', '0.9', '--top-k', '20', '--repetition-penalty', '1.1'];

/** In a folder with `config.yaml`, which trains for one step, and its `train.jsonl`. */
const commandsOf = (model: string): Record<string, Commands> => {
  const asked = ['--model', model, ...prompt, ...device];
  const train = (...changes: string[]): string[] => ['train', 'config.yaml', `model=${model}`, ...device, ...changes];
  const lora = ['train.lora.rank=2', 'train.lora.vision=true'];
  return {
    generate: [['generate', ...asked, '--max-new-tokens', '8']],
    'generate, sampled': [['generate', ...asked, '--max-new-tokens', '8', ...sampled]],
    'generate in bfloat16': [['generate', ...asked, '--max-new-tokens', '8', '--precision', 'bfloat16']],
    score: [['score', ...asked, '--response', '[]']],
    eval: [['eval', '--model', model, '--data', 'train.jsonl', '--max-new-tokens', '8', ...device]],
    train: [train('data.validation=train.jsonl', 'eval.every=1')],
    'train, resumed': [train(), train('steps=2', '--resume')],
    'train with LoRA, resumed': [train(...lora), train(...lora, 'steps=2', '--resume')],
    'eval of an adapter': [train(...lora), ['eval', '--model', 'run', '--data', 'train.jsonl', ...device]],
    'merge of an adapter': [train(...lora), ['merge', '--model', 'run', '--output', 'merged', ...device]],
  };
};

/** 16 prompts of 1,000 image tokens, 8 answers of 256 tokens to each: what a step of a real run has. */
const real = {
  promptsPerStep: 16,
  data: { train: 'train.jsonl', minPixels: 784_000, maxPixels: 800_000 },
  rollout: { group: 8, maxNewTokens: 256 },
  train: { microBatch: { prompts: 1 } },
  precision: 'bfloat16',
};
const shapes = { '3B': shapesOf3B, '7B': shapesOf7B };

/** Of the tests' tokenizer. */
const ids = Object.fromEntries(
  Object.entries(JSON.parse(readFileSync(join(tinyModel, 'config.json'), 'utf8')) as ConfigJson).filter(([key]) =>
    key.endsWith('_token_id'),
  ),
);

/**
 * The model is written where it does not exist.
 * @param train changes to `train`
 * @param others changes to other sections
 */
export function realStep(size: keyof typeof shapes, train: object, others: object = {}): Step {
  const model = join(root, '.tools', 'cuda-models', size);
  if (!existsSync(join(model, 'model.safetensors.index.json')))
    writeCheckpoint(model, { ...shapes[size], ...ids }, 'BF16', { hollow: true });
  const changes = { ...real, ...others, train: { ...real.train, ...train } };
  return { model, changes, dtype: 'lora' in train ? 'auto' : 'float32', gigabytes: 400 };
}

/** Answers of steps that were timed on a card (docs/gpu.md); labels beside them, since rollouts are all alike here. */
const timed = { rollout: { group: 8, maxNewTokens: 128 } };

const large = (): Record<string, Step> => ({
  '3B LoRA': realStep('3B', { lora: { rank: 16 } }),
  '3B LoRA, 4 prompts at once, answers of 128': realStep(
    '3B',
    { lora: { rank: 16 }, microBatch: { prompts: 4 } },
    timed,
  ),
  '7B LoRA, 2 prompts at once, answers of 128': realStep(
    '7B',
    { lora: { rank: 16 }, microBatch: { prompts: 2 } },
    timed,
  ),
  '3B LoRA, bfloat16 stream': realStep('3B', { lora: { rank: 16 } }, { stream: 'bfloat16' }),
  '3B LoRA, recomputed': realStep('3B', { lora: { rank: 16 }, checkpointActivations: true }),
  '3B LoRA, four bits': realStep('3B', { lora: { rank: 16, quantize: 'nf4' } }),
  '3B LoRA, four bits, recomputed': realStep('3B', {
    lora: { rank: 16, quantize: 'nf4' },
    checkpointActivations: true,
  }),
  '3B full': realStep('3B', {}),
  '3B full, recomputed': realStep('3B', { checkpointActivations: true }),
  '3B full, recomputed, bfloat16 stream': realStep('3B', { checkpointActivations: true }, { stream: 'bfloat16' }),
  '3B full, recomputed, 8-bit moments': realStep(
    '3B',
    { checkpointActivations: true },
    { optimizer: { states: '8bit' } },
  ),
  '3B full, tower frozen, recomputed and offloaded, 8-bit moments': realStep(
    '3B',
    { freezeVision: true, checkpointActivations: true, offloadActivations: true },
    { optimizer: { states: '8bit' } },
  ),
  '7B LoRA': realStep('7B', { lora: { rank: 16 } }),
  '7B LoRA, four bits': realStep('7B', { lora: { rank: 16, quantize: 'nf4' } }),
  '7B LoRA, four bits, recomputed': realStep('7B', {
    lora: { rank: 16, quantize: 'nf4' },
    checkpointActivations: true,
  }),
  '7B full, recomputed': realStep('7B', { checkpointActivations: true }),
  '7B full, recomputed, 8-bit moments': realStep(
    '7B',
    { checkpointActivations: true },
    { optimizer: { states: '8bit' } },
  ),
  '3B full, recomputed, on two cards': { ...realStep('3B', { checkpointActivations: true }), among: 2 },
  '7B full, recomputed, on four cards': { ...realStep('7B', { checkpointActivations: true }), among: 4 },
  '7B full, recomputed, with a reference, on eight cards': {
    ...realStep('7B', { checkpointActivations: true }, { objective: { kl: { coefficient: 0.1 } } }),
    among: 8,
  },
});

/** By name. */
export function cases(): Record<string, Case> {
  const all = families.flatMap((family): [string, Case][] => {
    const model = smallModel(family);
    const steps = Object.entries(variants).map(([name, changes]) => [name, { step: { model, changes } }] as const);
    const commands = Object.entries(commandsOf(model)).map(([name, each]) => [name, { commands: each }] as const);
    const train = ['train', 'config.yaml', `model=${model}`, ...device];
    const full: Case = { commands: [train], refused: 'memory is full', gigabytes: 0.04 };
    return [...steps, ...commands, ['train, memory full', full] as const].map(([name, each]) => [
      `${family.title} ${name}`,
      each,
    ]);
  });
  const steps = Object.entries(large()).map(([name, step]): [string, Case] => [name, { step }]);
  return Object.fromEntries([...all, ...together(), ...steps]);
}

/** Two processes, each on a card of its own. */
function together(): [string, Case][] {
  const train = ['train', 'config.yaml', `model=${tinyModel}`, ...device, '--processes', '2'];
  return Object.entries({ '': [], ' with LoRA': ['train.lora.rank=2'] }).map(([how, changes]) => [
    `Qwen2.5-VL train${how}, two processes`,
    { commands: [[...train, ...changes]], cards: 2 },
  ]);
}
