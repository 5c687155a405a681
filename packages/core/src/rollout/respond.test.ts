import { live, noGrad, scope, tensor } from '@visurf/torch';
import { afterAll, describe, expect, test } from 'vitest';

import { loadModel } from '../families/load.ts';
import { oracleCases, oraclePrompt, tinyModel } from '../testing/oracle.ts';
import { respond, type RespondOptions } from './respond.ts';
import { uniform } from '../philox.ts';
import { sampleTokens } from './sampler.ts';

const model = loadModel(tinyModel);
const model64 = loadModel(tinyModel, { dtype: 'float64' });
afterAll(() => {
  model.dispose();
  model64.dispose();
});

const prompts = oracleCases.map(oraclePrompt);
const options: RespondOptions = {
  group: 4,
  maxNewTokens: 12,
  stopIds: [109],
  forbiddenIds: [332, 333],
  temperature: 1,
  topP: 1,
  topK: 0,
  repetitionPenalty: 1,
  seed: 5,
  step: 3,
  promptIds: [10, 11, 12, 13],
};

describe('greedy decoding equals the reference', () => {
  test.each(oracleCases.flatMap((each) => [1, 1.05].map((penalty) => [each.name, penalty, each] as const)))(
    '%s, repetition penalty %s',
    async (_, penalty, each) => {
      const [[result] = []] = await respond(model, [oraclePrompt(each)], {
      ...options, group: 1, stopIds: [322, 320], forbiddenIds: [], temperature: 0, repetitionPenalty: penalty,
    }); // prettier-ignore
      expect(result?.tokens).toEqual(
        each.greedy[penalty === 1 ? 'repetitionPenalty1' : 'repetitionPenalty1.05'].tokens,
      );
    },
  );
});

test('log-probabilities kept from sampling equal those of scoring; finished rows end with the stop token', async () => {
  const before = live().handles;
  const groups = await respond(model, prompts, options);
  expect(live().handles).toBe(before);
  const scored = scope(() =>
    noGrad(() => {
      const { hidden, targets } = model.hidden(
        prompts.map((prompt, b) => ({ prompt, responses: (groups[b] ?? []).map(({ tokens }) => tokens) })),
      );
      return Array.from(model.score(hidden, targets).logProbs);
    }),
  );
  const kept = groups.flat().flatMap(({ logProbs }) => logProbs);
  expect(kept.length).toBe(scored.length);
  kept.forEach((each, i) => expect(Math.abs(each - (scored[i] ?? NaN))).toBeLessThan(1e-4));
  for (const { tokens, stop } of groups.flat()) {
    expect(tokens.indexOf(109)).toBe(stop === 'eos' ? tokens.length - 1 : -1);
    expect(tokens.some((token) => [332, 333].includes(token))).toBe(false);
  }
  expect(new Set(groups.flat().map(({ stop }) => stop)).size).toBe(2);
});

test('tokens do not depend on batching: together or alone, float64', async () => {
  const together = await respond(model64, prompts, options);
  for (const [b, prompt] of prompts.entries()) {
    const [alone] = await respond(model64, [prompt], { ...options, promptIds: [10 + b] });
    expect(alone?.map(({ tokens }) => tokens)).toEqual(together[b]?.map(({ tokens }) => tokens));
  }
});

test('sampled frequencies follow the distribution (chi-square)', () => {
  const logits = [0.5, -1, 2, 0, 1];
  const temperature = 0.7;
  const weights = logits.map((each) => Math.exp(each / temperature));
  const total = weights.reduce((a, b) => a + b);
  const draws = 20_000;
  const noise = Array.from({ length: draws }, (_, i) => uniform({ seed: 9, step: 0, prompt: i, member: 0 }, 0));
  const { tokens } = scope(() =>
    sampleTokens(
      tensor(logits).expand(draws, 5),
      { temperature, topP: 1, topK: 0, repetitionPenalty: 1 },
      noise,
      undefined,
      [],
    ),
  );
  const chi = weights.reduce((sum, weight, i) => {
    const expected = (draws * weight) / total;
    return sum + (tokens.filter((token) => token === i).length - expected) ** 2 / expected;
  }, 0);
  expect(chi).toBeLessThan(18.47); // 99.9% quantile with 4 degrees of freedom
});

test('top-k, top-p, forbidden tokens and the penalty leave what the reference leaves', () => {
  // probabilities 0.5, 0.25, 0.125, 0.125
  const logits = tensor([4, 2, 1, 1]).log();
  const reachable = (sampling: Partial<RespondOptions>, forbidden?: number): number[] => {
    const noise = Array.from({ length: 200 }, (_, i) => (i + 0.5) / 200);
    const mask =
      forbidden === undefined ? undefined : tensor([0, 1, 2, 3].map((i) => (i === forbidden ? -Infinity : 0)));
    const seen = noise.map(() => new Set([0]));
    const { tokens } = sampleTokens(logits.expand(200, 4), { ...options, ...sampling }, noise, mask, seen);
    return [...new Set(tokens)].sort();
  };
  expect(reachable({})).toEqual([0, 1, 2, 3]);
  expect(reachable({ topK: 1 })).toEqual([0]);
  expect(reachable({ topK: 2 })).toEqual([0, 1]);
  expect(reachable({ topP: 0.5 })).toEqual([0]);
  expect(reachable({ topP: 0.75 })).toEqual([0, 1]);
  expect(reachable({}, 0)).toEqual([1, 2, 3]);
  const one = (repetitionPenalty: number): number[] => [
    ...sampleTokens(tensor([[2, 1.5, -1]]), { ...options, temperature: 0, repetitionPenalty }, [0.5], undefined, [
      new Set([0]),
    ]).tokens,
  ];
  expect([one(1), one(2)]).toEqual([[0], [1]]);
});
