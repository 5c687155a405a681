/** A model directory in Hugging Face layout: weights, and every other file of the checkpoint it came from. */
import { copyFileSync, existsSync } from 'node:fs';
import { join } from 'node:path';

import { saveSafetensors } from '@visurf/torch';

import type { QwenVL } from '../model/qwen.ts';

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
  'processor_config.json',
];

/** Names of the files that `origin` has beside its weights. */
export const companionFiles = (origin: string): string[] => companions.filter((name) => existsSync(join(origin, name)));

export function saveWeights(model: QwenVL, file: string): void {
  saveSafetensors(file, model.namedParameters());
}

/** Writers of all files of a model directory, by name, as a checkpoint takes them. */
export function modelFiles(model: QwenVL, origin: string): Record<string, (file: string) => void> {
  const copies = companionFiles(origin).map((name): [string, (file: string) => void] => [
    name,
    (file) => copyFileSync(join(origin, name), file),
  ]);
  return { 'model.safetensors': (file) => saveWeights(model, file), ...Object.fromEntries(copies) };
}
