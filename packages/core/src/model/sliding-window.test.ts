/** Sliding attention is what full attention is while a sequence fits into the window; a longer one is refused. */
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

function withWindow(tokens: number) {
  const directory = mkdtempSync(path.join(tmpdir(), 'visurf-window-'));
  cpSync(tinyModel, directory, { recursive: true });
  const file = path.join(directory, 'config.json');
  const config = JSON.parse(readFileSync(file, 'utf8')) as { text_config: object };
  const window = { use_sliding_window: true, sliding_window: tokens, max_window_layers: 1, layer_types: null };
  writeFileSync(file, JSON.stringify({ ...config, text_config: { ...config.text_config, ...window } }));
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
