/** A tied head, as the files of checkpoints spell it. */
import { cpSync, mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

import { openSafetensors, saveSafetensors, scope, type Tensor } from '@visurf/torch';
import { expect, test } from 'vitest';

import { openConfiguration } from '../testing/configurations.ts';
import { loadModel } from '../families/load.ts';

const { model } = openConfiguration('qwen2-nested');
const embedding = 'model.language_model.embed_tokens.weight';
const head = 'lm_head.weight';

/** A copy of an untied checkpoint whose config says that it is tied, with other tensors. */
function saidToBeTied(change: (tensors: Map<string, Tensor>) => void, checkpoint = model): string {
  const directory = mkdtempSync(path.join(tmpdir(), 'visurf-tied-'));
  const config = path.join(directory, 'config.json');
  cpSync(path.join(checkpoint, 'config.json'), config);
  const value = JSON.parse(readFileSync(config, 'utf8')) as object;
  writeFileSync(config, JSON.stringify({ ...value, tie_word_embeddings: true }));
  scope(() => {
    using weights = openSafetensors(checkpoint);
    const tensors = new Map(weights.names.map((each) => [each, weights.get(each)]));
    change(tensors);
    saveSafetensors(path.join(directory, 'model.safetensors'), tensors);
  });
  return directory;
}

test('two different matrices are two matrices, whatever the config says', () => {
  const loaded = loadModel(saidToBeTied(() => undefined));
  expect(loaded.lm_head).toBeDefined();
  loaded.dispose();
});

test('two equal matrices are one', () => {
  const loaded = loadModel(saidToBeTied((tensors) => tensors.set(head, tensors.get(embedding)!.clone())));
  expect(loaded.lm_head).toBeUndefined();
  loaded.dispose();
});

test('either matrix alone serves for both', () => {
  for (const [gone, left] of [
    [head, embedding],
    [embedding, head],
  ] as const) {
    const loaded = loadModel(saidToBeTied((tensors) => tensors.delete(gone)));
    using weights = openSafetensors(model);
    const expected = scope(() => weights.get(left).to('float32').toFloat32Array());
    expect(loaded.lm_head).toBeUndefined();
    expect(loaded.model.embed_tokens.weight.toFloat32Array()).toEqual(expected);
    loaded.dispose();
  }
});

test('a head of another name in older files is a head', () => {
  const { model: older } = openConfiguration('internvl-hub');
  const own = 'language_model.lm_head.weight';
  const embedded = (tensors: Map<string, Tensor>): Tensor => tensors.get('language_model.model.embed_tokens.weight')!;
  const untied = loadModel(saidToBeTied((tensors) => tensors.set(own, embedded(tensors).mul(2)), older));
  const tied = loadModel(saidToBeTied((tensors) => tensors.set(own, embedded(tensors).clone()), older));
  expect([untied.lm_head, tied.lm_head]).toEqual([expect.anything(), undefined]);
  untied.dispose();
  tied.dispose();
});

test('saved rotary buffers are no weights', () => {
  const directory = saidToBeTied((tensors) => tensors.set('model.rotary_emb.inv_freq', tensors.get(head)!));
  loadModel(directory).dispose();
});
