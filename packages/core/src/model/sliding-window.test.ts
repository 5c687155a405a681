/**
 * Sliding attention is what full attention is while a sequence fits into the window; a longer one is refused. Likewise
 * rotary embeddings that change behind the trained length.
 */
import { cpSync, mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

import { scope } from '@visurf/torch';
import { expect, test } from 'vitest';

import { oracleCases, oraclePrompt, tinyModel } from '../testing/oracle.ts';
import { respond } from '../rollout/respond.ts';
import { greedy } from '../rollout/sampler.ts';
import { loadModel } from '../families/load.ts';

const found = oracleCases.find(({ name }) => name === 'text-only')!;
const prompt = oraclePrompt(found);
const response = found.responses[0]!.tokens;

interface Text {
  readonly rope_parameters: object;
}

const withWindow = (tokens: number) =>
  withText(() => ({ use_sliding_window: true, sliding_window: tokens, max_window_layers: 1, layer_types: null }));

function withText(change: (text: Text) => object) {
  const directory = mkdtempSync(path.join(tmpdir(), 'visurf-window-'));
  cpSync(tinyModel, directory, { recursive: true });
  const file = path.join(directory, 'config.json');
  const config = JSON.parse(readFileSync(file, 'utf8')) as { text_config: Text };
  const { text_config: text } = config;
  writeFileSync(file, JSON.stringify({ ...config, text_config: { ...text, ...change(text) } }));
  return loadModel(directory);
}

const score = (model: ReturnType<typeof loadModel>): Float64Array =>
  scope(() => {
    const { hidden, targets } = model.hidden([{ prompt, responses: [response] }]);
    return model.score(hidden, targets).logProbs;
  });

test('log-probabilities', () => {
  // The last token is predicted, never read.
  const read = prompt.inputIds.length + response.length - 1;
  const [whole, sliding, short] = [loadModel(tinyModel), withWindow(read), withWindow(read - 1)];
  expect(score(sliding)).toEqual(score(whole));
  expect(() => score(short)).toThrow(`${read} tokens do not fit into the sliding window of ${read - 1} tokens`);
  for (const model of [whole, sliding, short]) model.dispose();
});

test('generation', async () => {
  const model = withWindow(prompt.inputIds.length + 2);
  const say = (maxNewTokens: number) =>
    respond(model, [prompt], {
      ...{ ...greedy, maxNewTokens, group: 1, stopIds: [], forbiddenIds: [] },
      ...{ seed: 0, step: 0, promptIds: [0] },
    });
  expect((await say(3))[0]?.[0]?.tokens).toHaveLength(3);
  await expect(say(4)).rejects.toThrow('do not fit into the sliding window');
  model.dispose();
});

test('dynamic scaling changes nothing up to the trained length', () => {
  const read = prompt.inputIds.length + response.length - 1;
  const scaled = (length: number) =>
    withText(({ rope_parameters }) => ({
      max_position_embeddings: length,
      rope_parameters: { ...rope_parameters, rope_type: 'dynamic', factor: 2 },
    }));
  const [whole, dynamic, short] = [loadModel(tinyModel), scaled(read), scaled(read - 1)];
  expect(score(dynamic)).toEqual(score(whole));
  expect(() => score(short)).toThrow(`${read} tokens do not fit into the trained length`);
  for (const model of [whole, dynamic, short]) model.dispose();
});
