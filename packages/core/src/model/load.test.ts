import { cpSync, mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

import { openSafetensors, saveSafetensors, scope, type Tensor } from '@visurf/torch';
import { expect, test } from 'vitest';

import { openConfiguration } from '../testing/configurations.ts';
import { loadModel } from './load.ts';

/** A copy of a small checkpoint whose config and tensors were changed. */
function changed(
  name: string,
  config: (value: Record<string, unknown>) => object,
  change: (tensors: Map<string, Tensor>) => void,
): string {
  const { model } = openConfiguration(name);
  const directory = mkdtempSync(path.join(tmpdir(), 'visurf-load-'));
  cpSync(path.join(model, 'config.json'), path.join(directory, 'config.json'));
  const file = path.join(directory, 'config.json');
  writeFileSync(file, JSON.stringify(config(JSON.parse(readFileSync(file, 'utf8')) as Record<string, unknown>)));
  scope(() => {
    using weights = openSafetensors(model);
    const tensors = new Map(weights.names.map((each) => [each, weights.get(each)]));
    change(tensors);
    saveSafetensors(path.join(directory, 'model.safetensors'), tensors);
  });
  return directory;
}

const same = (value: object): object => value;

test('what is missing, extra or misshapen is named', () => {
  const without = changed('qwen2-nested', same, (tensors) => tensors.delete('lm_head.weight'));
  expect(() => loadModel(without)).toThrow('the weights lack lm_head.weight');
  const more = changed('qwen2-nested', same, (tensors) => tensors.set('model.extra', tensors.get('lm_head.weight')!));
  expect(() => loadModel(more)).toThrow('no place for: model.extra');
  const other = changed('qwen2-nested', same, (tensors) => {
    tensors.set('lm_head.weight', tensors.get('lm_head.weight')!.narrow(0, 0, 8).contiguous());
  });
  expect(() => loadModel(other)).toThrow('tensor lm_head.weight has shape [8, 32], config.json asks for [352, 32]');
});

test('saved rotary buffers are no weights', () => {
  const directory = changed('qwen2-nested', same, (tensors) => {
    tensors.set('model.rotary_emb.inv_freq', tensors.get('model.language_model.norm.weight')!);
  });
  loadModel(directory).dispose();
});

test('the weights have the last word about a tied head', () => {
  const tie = (value: Record<string, unknown>) => ({ ...value, tie_word_embeddings: true });
  const both = loadModel(changed('qwen2-nested', tie, () => undefined));
  expect(both.lm_head).toBeDefined();
  both.dispose();

  const embedding = 'model.language_model.embed_tokens.weight';
  const equal = changed('qwen2-nested', tie, (tensors) =>
    tensors.set('lm_head.weight', tensors.get(embedding)!.clone()),
  );
  const tied = loadModel(equal);
  expect(tied.lm_head).toBeUndefined();
  tied.dispose();

  const alone = loadModel(changed('qwen2-nested', tie, (tensors) => tensors.delete(embedding)));
  using weights = openSafetensors(openConfiguration('qwen2-nested').model);
  const head = scope(() => weights.get('lm_head.weight').to('float32').toFloat32Array());
  expect(alone.model.embed_tokens.weight.toFloat32Array()).toEqual(head);
  alone.dispose();
});
