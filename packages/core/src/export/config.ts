/** `config.json` of weights that we write: what it says of their dtype and of the head must be true of them. */

import type { FloatDType } from '@visurf/torch';
import { readText } from '../regular.ts';

type Fields = Record<string, unknown>;

const isFields = (value: unknown): value is Fields =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** The dtype that a `config.json` states, under its new name or its old one, at the top or of the decoder. */
export function statedDtype(file: string): string | undefined {
  const config = JSON.parse(readText(file)) as Fields;
  const parts = [config, config['text_config']].filter(isFields);
  const stated = parts.flatMap((part) => part['dtype'] ?? part['torch_dtype'] ?? [])[0];
  return typeof stated === 'string' ? stated.replace(/^torch\./, '') : undefined;
}

/** The text of a `config.json` with every dtype replaced, and with whether the head is the embeddings. */
export function describeWeights(file: string, dtype: FloatDType, tiedHead: boolean): string {
  const text = readText(file);
  const config = JSON.parse(text) as Fields;
  const before = JSON.stringify(config);
  const parts = [config, ...['text_config', 'vision_config'].map((name) => config[name]).filter(isFields)];
  for (const part of parts) {
    for (const name of ['dtype', 'torch_dtype']) if (name in part) part[name] = dtype;
    if ('tie_word_embeddings' in part) part['tie_word_embeddings'] = tiedHead;
  }
  if (!parts.some((part) => 'dtype' in part || 'torch_dtype' in part)) config['dtype'] = dtype;
  return JSON.stringify(config) === before ? text : `${JSON.stringify(config, null, 2)}\n`;
}
