/** Options of training that save memory or time change no number, and save it. Float64. */
import { allocated, optim, resetPeakAllocated, scope } from '@visurf/torch';
import { expect, test } from 'vitest';

import { parseConfig } from '../config/load.ts';
import { FeatureCache } from '../model/features.ts';
import { loadModel } from '../families/load.ts';
import { groupOf } from '../testing/groups.ts';
import { oracleCases, oraclePrompt, tinyModel } from '../testing/oracle.ts';
import type { Group } from '../types.ts';
import { trainable } from './optimizer.ts';
import { updatePolicy } from './update.ts';

const groups = oracleCases.map((each): Group => {
  const prompt = { ...oraclePrompt(each), images: each.imageGridThw.map((_, i) => `${each.name}-${i}`) };
  const said = each.responses.map(({ tokens }, j) => ({ tokens, advantage: j - 1 }));
  return groupOf(each.name, prompt, said);
});

async function update(train: Record<string, unknown>, features?: FeatureCache): Promise<Map<string, number[]>> {
  const config = parseConfig({
    model: tinyModel,
    output: 'unused',
    data: { train: 'unused' },
    steps: 1,
    train: { microBatch: { prompts: 2 }, ...train },
  });
  const model = loadModel(tinyModel, { dtype: 'float64' });
  model._features = features;
  const parameters = trainable(model, config.train);
  const optimizer = new optim.SGD(parameters, { learningRate: 1 });
  await updatePolicy({ model, reference: undefined, parameters, optimizer }, groups, { rl: 1, sft: 0 }, config, 1);
  const after = new Map([...model.namedParameters()].map(([key, each]) => [key, each.toArray()]));
  model.dispose();
  return after;
}

function expectClose(actual: Map<string, number[]>, expected: Map<string, number[]>): void {
  for (const [key, values] of expected) {
    const distance = values.reduce((most, value, i) => Math.max(most, Math.abs(value - actual.get(key)![i]!)), 0);
    expect(distance, key).toBeLessThan(1e-12);
  }
}

test('train.checkpointActivations', async () => {
  expectClose(await update({ checkpointActivations: true }), await update({}));
});

test('train.microBatch.tokens', async () => {
  expectClose(await update({ microBatch: { prompts: 8, tokens: 150 } }), await update({}));
});

test('activations that are computed again take less memory', () => {
  const model = loadModel(tinyModel, { dtype: 'float64' });
  const prompt = oraclePrompt(oracleCases[0]!);
  const responses = Array.from({ length: 16 }, (_, i) => Array.from({ length: 250 }, (_, t) => (7 * t + i) % 300));
  /** Bytes kept for the backward pass, and the most that a pass needs. */
  const bytes = (recomputed: boolean): { kept: number; peak: number } =>
    scope(() => {
      const before = allocated().bytes;
      resetPeakAllocated();
      const pass = model.trained([{ prompt, responses }], { recomputed });
      const kept = allocated().bytes - before;
      const scored = model.score(pass.hidden, pass.targets);
      pass.backward(scored.pullback(scored.logProbs.map(() => 1e-3)));
      return { kept, peak: allocated().peak - before };
    });
  const [less, more] = [bytes(true), bytes(false)];
  expect(less.kept).toBeLessThan(0.2 * more.kept);
  expect(less.peak).toBeLessThan(0.95 * more.peak);
  model.dispose();
});

test('train.freezeVision with remembered features', async () => {
  const features = new FeatureCache(1e6);
  const plain = await update({ freezeVision: true });
  expectClose(await update({ freezeVision: true, checkpointActivations: true }, features), plain);
  expect(features.uses.computed).toBe(features.uses.asked);
  expect(features.uses.asked).toBeGreaterThan(0);
});
