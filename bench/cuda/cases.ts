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
}

/** Arguments of the command line, one command after the other; the last is counted. */
export type Commands = readonly (readonly string[])[];

/** `refused`: what the last command says as it ends with exit code 2, on a card of so many gigabytes. */
export type Case =
  { readonly step: Step } | { readonly commands: Commands; readonly refused?: string; readonly gigabytes?: number };

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
const lora = { train: { ...real.train, lora: { rank: 16 } } };
const recomputed = { train: { ...real.train, checkpointActivations: true } };

/** By name; the model is written where it does not exist. */
const large: Record<string, { shapes: ConfigJson; changes: Record<string, unknown> }> = {
  '3B LoRA': { shapes: shapesOf3B, changes: lora },
  '3B full': { shapes: shapesOf3B, changes: {} },
  '3B full, recomputed': { shapes: shapesOf3B, changes: recomputed },
  '7B LoRA': { shapes: shapesOf7B, changes: lora },
  '7B full, recomputed': { shapes: shapesOf7B, changes: recomputed },
};

/** Of the tests' tokenizer. */
const ids = Object.fromEntries(
  Object.entries(JSON.parse(readFileSync(join(tinyModel, 'config.json'), 'utf8')) as ConfigJson).filter(([key]) =>
    key.endsWith('_token_id'),
  ),
);

function largeStep({ shapes, changes }: (typeof large)[string]): Step {
  const model = join(root, '.tools', 'cuda-models', `${shapes['hidden_size'] as number}`);
  if (!existsSync(join(model, 'model.safetensors.index.json')))
    writeCheckpoint(model, { ...shapes, ...ids }, 'BF16', { hollow: true });
  return { model, changes: { ...real, ...changes }, dtype: changes === lora ? 'auto' : 'float32', gigabytes: 400 };
}

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
  const steps = Object.entries(large).map(([name, each]): [string, Case] => [name, { step: largeStep(each) }]);
  return Object.fromEntries([...all, ...steps]);
}
