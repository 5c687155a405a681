/** A model directory in Hugging Face layout: weights, and every other file of the checkpoint it came from. */
import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { saveSafetensors, type FloatDType, type LazyTensor, type Tensor } from '@visurf/torch';

import { baseParameters, hasAdapters } from '../model/lora.ts';
import type { Keys } from '../model/keys.ts';
import type { VisionLanguageModel } from '../model/vlm.ts';
import { readBytes } from '../regular.ts';
import { describeWeights } from './config.ts';

/** What a checkpoint carries beside its weights. */
const companions = [
  'config.json',
  'generation_config.json',
  'tokenizer.json',
  'tokenizer_config.json',
  'special_tokens_map.json',
  'added_tokens.json',
  'vocab.json',
  'merges.txt',
  'chat_template.jinja',
  'chat_template.json',
  'preprocessor_config.json',
  'video_preprocessor_config.json',
  'processor_config.json',
];

export type Writers = Record<string, (file: string) => void>;

/** Tensors by the names that files of the family have, in the order in which `save_pretrained` writes. */
export const byName = <T extends Tensor | LazyTensor>(
  tensors: Iterable<readonly [string, T]>,
  { inFile }: Keys,
): Map<string, T> =>
  new Map(
    [...tensors].map(([key, each]) => [inFile(key)[0] ?? key, each] as const).sort(([a], [b]) => (a < b ? -1 : 1)),
  );

/**
 * Writers of the files that a checkpoint from `origin` has beside its weights, which are of this dtype. They are read at
 * once: a training can save itself when the model that it began with is gone.
 */
export function companionFiles(tiedHead: boolean, origin: string, dtype: FloatDType): Writers {
  const found = companions.filter((name) => existsSync(join(origin, name)));
  const contents: [string, string | Buffer][] = found.map((name) => [name, readBytes(join(origin, name))]);
  contents.push(['config.json', describeWeights(join(origin, 'config.json'), dtype, tiedHead)]);
  return Object.fromEntries(contents.map(([name, text]) => [name, (file: string) => writeFileSync(file, text)]));
}

/**
 * Writers of all files of a model directory, by name, as a checkpoint takes them.
 * @param masters weights that the model has in fewer bits than the file shall have, by key
 */
export function modelFiles(
  model: VisionLanguageModel,
  origin: string,
  masters: ReadonlyMap<string, LazyTensor> = new Map(),
): Writers {
  if (hasAdapters(model)) throw new Error('a model with adapters is saved merged, or as its adapters');
  return {
    'model.safetensors': (file) => {
      const weights = [...baseParameters(model)].map(([key, each]) => [key, masters.get(key) ?? each] as const);
      saveSafetensors(file, byName(weights, model.config.family.keys));
    },
    ...companionFiles(model.config.text.tiedHead, origin, model.dtype as FloatDType),
  };
}
