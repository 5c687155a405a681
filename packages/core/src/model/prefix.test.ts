/** The shared prefix is exact: log-probabilities and gradients are those of every response with its own full prompt. */
import { scope } from '@visurf/torch';
import { afterAll, describe, expect, test } from 'vitest';

import { oracleCases, oraclePrompt, tinyModel } from '../testing/oracle.ts';
import { loadModel } from '../families/load.ts';
import type { PromptWithResponses } from './pack.ts';
import type { VisionLanguageModel } from './vlm.ts';

/** Two images; a label, a rollout with its stop token, one that was cut off, one of a single token. */
const groups: PromptWithResponses[] = ['two-images', 'one-image', 'text-only'].map((name, b) => {
  const found = oracleCases.find((each) => each.name === name);
  if (!found) throw new Error(`no case ${name}`);
  const responses = found.responses.map(({ tokens }) => tokens).slice(0, 3 - (b % 2));
  return { prompt: oraclePrompt(found), responses: b === 0 ? [...responses, [40]] : responses };
});
const coefficientOf = (b: number, k: number, t: number): number => Math.sin(1 + 7 * b + 3 * k + t);

/** What to run together: each inner list is one packed forward of (prompt, chosen responses). */
type Cut = readonly (readonly { readonly prompt: number; readonly responses: readonly number[] }[])[];

const all = groups.map((group, prompt) => ({ prompt, responses: group.responses.map((_, k) => k) }));
const cuts: Record<string, Cut> = {
  'all together': [all],
  'one prompt at a time': all.map((each) => [each]),
  'micro-batches that split a group': [
    [{ prompt: 0, responses: [0, 3] }],
    [{ prompt: 0, responses: [1, 2] }, { prompt: 1, responses: [1] }],
    [{ prompt: 1, responses: [0] }, all[2] ?? { prompt: 2, responses: [] }],
  ], // prettier-ignore
};
const plain: Cut = all.flatMap(({ prompt, responses }) => responses.map((k) => [{ prompt, responses: [k] }]));

function run(
  model: VisionLanguageModel,
  cut: Cut,
): { logProbs: Map<string, number>; gradients: Map<string, Float64Array> } {
  const logProbs = new Map<string, number>();
  for (const batch of cut) {
    scope(() => {
      const items = batch.map(({ prompt, responses }) => {
        const group = groups[prompt];
        if (!group) throw new Error('no such prompt');
        return { prompt: group.prompt, responses: responses.map((k) => group.responses[k] ?? []) };
      });
      const keys = batch.flatMap(({ prompt, responses }) =>
        responses.flatMap((k) => (groups[prompt]?.responses[k] ?? []).map((_, t) => [prompt, k, t] as const)),
      );
      const { hidden, targets } = model.hidden(items);
      const scored = model.score(hidden, targets);
      keys.forEach((key, i) => logProbs.set(key.join(), scored.logProbs[i] ?? NaN));
      hidden.backward(scored.pullback(Float64Array.from(keys, ([b, k, t]) => coefficientOf(b, k, t))));
    });
  }
  const gradients = scope(
    () =>
      new Map(
        [...model.namedParameters()].map(([key, each]) => [key, each.grad?.toFloat64Array() ?? new Float64Array()]),
      ),
  );
  for (const each of model.parameters()) each.grad = undefined;
  return { logProbs, gradients };
}

const distance = (a: ArrayLike<number>, b: ArrayLike<number>): number => {
  const largest = (values: ArrayLike<number>): number =>
    Array.from(values).reduce((m, v) => Math.max(m, Math.abs(v)), 0);
  return largest(Array.from(a, (each, i) => each - (b[i] ?? NaN))) / Math.max(largest(b), 1e-300);
};

describe.each([
  ['float64', 1e-9],
  ['float32', 1e-4],
] as const)('%s', (dtype, tolerance) => {
  const model = loadModel(tinyModel, { dtype });
  afterAll(() => model.dispose());
  const expected = run(model, plain);

  test.each(Object.entries(cuts))('%s', (_, cut) => {
    const found = run(model, cut);
    const keys = [...expected.logProbs.keys()];
    expect(
      distance(
        keys.map((key) => found.logProbs.get(key) ?? NaN),
        keys.map((key) => expected.logProbs.get(key) ?? NaN),
      ),
    ).toBeLessThan(tolerance);
    for (const [key, gradient] of expected.gradients) {
      expect(gradient.length, key).toBeGreaterThan(0);
      expect(distance(found.gradients.get(key) ?? [], gradient), key).toBeLessThan(tolerance);
    }
  });
});
