import { live, scope, Tensor, zeros } from '@visurf/torch';
import { afterEach, beforeEach, expect, onTestFinished, test, vi } from 'vitest';

import { oracleCases, oraclePrompt, tinyModel } from '../testing/oracle.ts';
import { FeatureCache } from './features.ts';
import { loadModel } from '../families/load.ts';
import type { PromptWithResponses } from './pack.ts';
import type { VisionLanguageModel, TrainedPass } from './vlm.ts';
import { onStream, type Flow } from './stage.ts';

let model: VisionLanguageModel;
beforeEach(() => {
  model = loadModel(tinyModel, { dtype: 'float64' });
});
afterEach(() => model.dispose());

const all: PromptWithResponses[] = oracleCases.map((each) => ({
  prompt: oraclePrompt(each),
  responses: each.responses.map(({ tokens }) => tokens),
}));

/** d (sum of weighted log-probabilities) / d parameter, by checkpoint key; and the log-probabilities. */
function gradients(
  items: readonly PromptWithResponses[],
  how: TrainedPass,
): { logProbs: number[]; named: Map<string, number[] | undefined> } {
  const named = model.namedParameters();
  for (const each of named.values()) each.grad = undefined;
  const logProbs = scope(() => {
    const pass = model.trained(items, how);
    const scored = model.score(pass.hidden, pass.targets);
    pass.backward(scored.pullback(scored.logProbs.map((_, i) => Math.sin(i + 1))));
    return Array.from(scored.logProbs);
  });
  return { logProbs, named: scope(() => new Map([...named].map(([key, each]) => [key, each.grad?.toArray()]))) };
}

/** Kept, but stage by stage. */
const staged: TrainedPass = { recomputed: false, watch: { begin: () => undefined, stageDone: () => undefined } };

const largest = (values: readonly number[]): number => values.reduce((a, b) => Math.max(a, Math.abs(b)), 0);

function expectEqual(actual: ReturnType<typeof gradients>, expected: ReturnType<typeof gradients>): void {
  expect(largest(actual.logProbs.map((value, i) => value - expected.logProbs[i]!))).toBeLessThan(1e-12);
  for (const [key, want] of expected.named) {
    const got = actual.named.get(key);
    expect(got === undefined, key).toBe(want === undefined);
    const distance = largest((got ?? []).map((value, i) => value - want![i]!));
    expect(distance / Math.max(largest(want ?? []), 1e-12), key).toBeLessThan(1e-12);
  }
}

test('activations that are computed again give the same gradients, vision tower included', () => {
  const expected = gradients(all, { recomputed: false });
  const recomputed = gradients(all, { recomputed: true });
  expect([...expected.named.values()].every((each) => each !== undefined)).toBe(true);
  expectEqual(recomputed, expected);
  expectEqual(gradients(all, staged), expected);
});

test('a prompt without images, too', () => {
  const text = all.filter(({ prompt }) => prompt.imageGridThw.length === 0);
  expect(text.length).toBeGreaterThan(0);
  const expected = gradients(text, { recomputed: false });
  for (const how of [{ recomputed: true }, staged]) expectEqual(gradients(text, how), expected);
});

test('parameters that are not trained get no gradient, and the tower is then left out', () => {
  for (const [key, each] of model.namedParameters()) {
    each.requiresGrad_(!key.startsWith('visual.') && !key.endsWith('layers.0.mlp.up_proj.weight'));
  }
  const recomputed = gradients(all, { recomputed: true });
  expect([...recomputed.named].filter(([, each]) => each === undefined).length).toBeGreaterThan(10);
  const expected = gradients(all, { recomputed: false });
  for (const each of [recomputed, gradients(all, staged)]) expectEqual(each, expected);
});

/** Has the tower's features join the stream after the first two layers as well, the second time as their own stages left them. */
function injectFeatures(): void {
  const encode = model.visual.encode.bind(model.visual);
  vi.spyOn(model.visual, 'encode').mockImplementation((pixels, grids, run) => {
    const { patches, features } = encode(pixels, grids, run);
    const split = run!(([x]) => [x.mul(1), x.tanh(), x.mul(0.5)], features, []);
    return {
      patches,
      features: run!(
        onStream((x) => x.mul(2)),
        split,
        [],
      ),
    };
  });
}

test('what travels beside the stream is taken up by the first layers, with its gradient', () => {
  const without = gradients(all, { recomputed: false });
  injectFeatures();
  const expected = gradients(all, { recomputed: false });
  expect(largest(expected.logProbs.map((value, i) => value - without.logProbs[i]!))).toBeGreaterThan(0.01);
  for (const how of [{ recomputed: true }, staged]) expectEqual(gradients(all, how), expected);
  const before = live();
  gradients(all, { recomputed: true });
  expect(live()).toEqual(before);
  // Prompts alone see it, too.
  const prompts = all.map(({ prompt }) => prompt);
  const firsts = scope(() => {
    const scored = all.map(({ prompt, responses }) => {
      const [token = 0] = responses[0] ?? [];
      return Array.from(model.score(model.hidden([{ prompt, responses: [[token]] }]).hidden, [token]).logProbs);
    });
    return scored.flat();
  });
  const ofPrefill = scope(() => {
    const { last } = model.prefill(prompts);
    return Array.from(
      model.score(
        last,
        all.map(({ responses }) => responses[0]?.[0] ?? 0),
      ).logProbs,
    );
  });
  expect(largest(ofPrefill.map((value, i) => value - firsts[i]!))).toBeLessThan(1e-12);
});

test('a frozen tower and what it gives beside its features are remembered', () => {
  injectFeatures();
  for (const [key, each] of model.namedParameters()) each.requiresGrad_(!key.startsWith('visual.'));
  const expected = gradients(all, { recomputed: false });
  model._features = new FeatureCache(1e6);
  expectEqual(gradients(all, { recomputed: false }), expected);
  for (const how of [{ recomputed: true }, staged]) expectEqual(gradients(all, how), expected);
});

test('nothing stays alive after the backward pass', () => {
  gradients(all, { recomputed: true });
  const before = live();
  gradients(all, { recomputed: true });
  expect(live()).toEqual(before);
});

test('features of a frozen tower are computed once per image, and give the same numbers', () => {
  const images = all
    .filter(({ prompt }) => prompt.imageGridThw.length > 0)
    .map(({ prompt, responses }, i) => ({
      prompt: { ...prompt, images: prompt.imageGridThw.map((_, k) => `${i}-${k}.png`) },
      responses,
    }));
  for (const [key, each] of model.namedParameters()) each.requiresGrad_(!key.startsWith('visual.'));
  const expected = gradients(images, { recomputed: false });
  const cache = new FeatureCache(1e6);
  model._features = cache;
  expectEqual(gradients(images, { recomputed: false }), expected);
  for (const how of [{ recomputed: true }, staged]) expectEqual(gradients(images, how), expected);
  const count = images.reduce((sum, { prompt }) => sum + prompt.imageGridThw.length, 0);
  expect(cache.uses).toEqual({ asked: 3 * count, computed: count });
  expect(scope(() => (model.prefill(images.map(({ prompt }) => prompt)), cache.uses.computed))).toBe(count);
  cache.clear();
  expect(cache.bytes).toBe(0);
});

test.each(['bfloat16', 'float32', 'float64'] as const)('features of %s count the bytes that they have', (dtype) => {
  const cache = new FeatureCache(1e6);
  cache.get('a', () => scope(() => [zeros([3, 5], { dtype }), zeros([7], { dtype })]))[0].dispose();
  expect(cache.bytes).toBe((3 * 5 + 7) * { bfloat16: 2, float32: 4, float64: 8 }[dtype]);
  cache.clear();
});

test('the cache keeps within its budget, and drops what was not used for longest', () => {
  const cache = new FeatureCache(3 * 8 * 4);
  const computed: string[] = [];
  const ask = (key: string): Flow =>
    cache.get(key, () => {
      computed.push(key);
      return scope(() => [model.model.norm.weight.detach().narrow(0, 0, 4).clone()]);
    });
  for (const key of ['a', 'b', 'c', 'a', 'd', 'b', 'a']) ask(key)[0].dispose();
  expect(computed.join('')).toBe('abcdb');
  expect(cache.bytes).toBe(3 * 8 * 4);
  cache.clear();
});

test('a stream that waits on another device is where it was when its block is computed again', () => {
  const moved = vi.spyOn(Tensor.prototype, 'move_');
  onTestFinished(() => moved.mockRestore());
  const expected = gradients(all, { recomputed: true });
  const offloaded = gradients(all, { recomputed: true, offloaded: true });
  // Away and back, once for every stage between the first and the last.
  const away = moved.mock.calls.length / 2;
  expect(away).toBeGreaterThan(model.config.text.layers + model.config.vision.depth - 2);
  expect(offloaded).toEqual(expected);
});

test.each([true, false])(
  'gradients are complete when their stage is done, activations computed again: %j',
  (recomputed) => {
    const named = model.namedParameters();
    const head = model.headWeight;
    const left: (readonly Tensor[])[] = [];
    const seen = new Map<Tensor, number[] | undefined>();
    const values = (each: Tensor): number[] | undefined => scope(() => each.grad?.toArray());
    const watch = {
      begin: (stages: readonly (readonly Tensor[])[]) => void left.push(...stages),
      stageDone: () => {
        for (const each of left.shift()!) {
          expect(seen.has(each)).toBe(false);
          seen.set(each, values(each));
        }
      },
    };
    gradients(all, { recomputed, watch });
    expect(left).toEqual([]);
    // A head of its own belongs to no stage.
    const ofStages = [...named.values()].filter((each) => each !== head || seen.has(head));
    expect(seen.size).toBe(ofStages.length);
    for (const each of ofStages) expect(seen.get(each)).toEqual(values(each));
  },
);
