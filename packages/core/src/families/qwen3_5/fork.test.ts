/** The state of a prompt, forked for its group, is that of every response with its own full prompt. */
import { noGrad, scope } from '@visurf/torch';
import { afterAll, describe, expect, test } from 'vitest';

import type { PromptWithResponses } from '../../model/pack.ts';
import type { VisionLanguageModel } from '../../model/vlm.ts';
import { PromptEncoder } from '../../prompt/encoder.ts';
import { respond } from '../../rollout/respond.ts';
import { openConfiguration } from '../../testing/configurations.ts';
import type { Prompt } from '../../types.ts';
import { loadModel } from '../load.ts';

const { model: directory, cases } = openConfiguration('qwen3_5-hub');
const withImage = await PromptEncoder.load(directory).encode({ messages: cases[0]!.messages });

/** Around the reach of the convolution, and around chunks. */
const lengths = [1, 2, 3, 46, 64, 65, 128];
const textOf = (length: number): Prompt => {
  const inputIds = Array.from({ length }, (_, i) => 30 + ((7 * i * i + 11 * length) % 250));
  const positions = inputIds.map((_, i) => i);
  return {
    rendered: '',
    inputIds,
    imageGridThw: [],
    positionIds: [positions, positions, positions],
    pixelValues: undefined,
    frames: [],
  };
};
/** One of a single token, and one that is longer than a chunk. */
const responsesOf = (count: number): number[][] =>
  [4, 1, 9, 70]
    .slice(0, count)
    .map((size, k) => Array.from({ length: size }, (_, t) => 40 + ((13 * t + 29 * k) % 200)));

const group = (prompt: Prompt, count = 3): PromptWithResponses => ({ prompt, responses: responsesOf(count) });
const ragged = [withImage, ...lengths.map(textOf)].map((prompt, i) => group(prompt, 1 + (i % 4)));

interface Numbers {
  readonly logProbs: number[];
  readonly gradients: Map<string, Float64Array>;
}

/** What groups give that are computed in such batches; coefficients do not depend on how they are cut. */
function run(
  model: VisionLanguageModel,
  batches: readonly (readonly PromptWithResponses[])[],
  recomputed = false,
): Numbers {
  const found: number[] = [];
  for (const items of batches) {
    scope(() => {
      const pass = model.trained(items, { recomputed });
      const scored = model.score(pass.hidden, pass.targets);
      const coefficients = scored.logProbs.map((_, i) => Math.sin(1 + found.length + i));
      pass.backward(scored.pullback(coefficients));
      found.push(...scored.logProbs);
    });
  }
  const gradients = scope(
    () =>
      new Map(
        [...model.namedParameters()].map(([key, { grad }]) => [key, grad?.toFloat64Array() ?? new Float64Array()]),
      ),
  );
  for (const each of model.parameters()) each.grad = undefined;
  return { logProbs: found, gradients };
}

const alone = (items: readonly PromptWithResponses[]): PromptWithResponses[][] =>
  items.flatMap(({ prompt, responses }) => responses.map((each) => [{ prompt, responses: [each] }]));

const largest = (values: ArrayLike<number>): number => Array.from(values).reduce((m, v) => Math.max(m, Math.abs(v)), 0);
const distance = (a: ArrayLike<number>, b: ArrayLike<number>): number =>
  largest(Array.from(a, (each, i) => each - (b[i] ?? NaN))) / Math.max(largest(b), 1e-300);

function expectSame(found: Numbers, expected: Numbers, tolerance: number): void {
  expect(distance(found.logProbs, expected.logProbs)).toBeLessThan(tolerance);
  for (const [key, values] of expected.gradients) {
    expect(found.gradients.get(key), key).toHaveLength(values.length);
    if (values.length > 0 && largest(values) > 1e-12)
      expect(distance(found.gradients.get(key)!, values), key).toBeLessThan(tolerance);
  }
}

describe.each([
  ['float64', 1e-9],
  ['float32', 1e-4],
] as const)('%s', (dtype, tolerance) => {
  const model = loadModel(directory, { dtype });
  afterAll(() => model.dispose());

  test.each(lengths)('a prompt of %i tokens', (length) => {
    const items = [group(textOf(length), 4)];
    expectSame(run(model, [items]), run(model, alone(items)), tolerance);
  });

  test('prompts of unequal length in one batch, one with an image, and layers that are computed again', () => {
    const expected = run(model, alone(ragged));
    expectSame(run(model, [ragged]), expected, tolerance);
    expectSame(run(model, [ragged], true), expected, tolerance);
  });

  test('prompts of unequal length with a response each', () => {
    const items = ragged.map(({ prompt, responses }) => ({ prompt, responses: responses.slice(0, 1) }));
    expectSame(run(model, [items]), run(model, alone(items)), tolerance);
  });

  test('what is decoded token by token is what whole passes say, and rows of a group share nothing', async () => {
    const prompts = ragged.map(({ prompt }) => prompt);
    const settings = {
      group: 3,
      maxNewTokens: 70,
      stopIds: [42, 77, 120],
      forbiddenIds: [],
      temperature: 1,
      topP: 1,
      topK: 0,
    };
    const noise = { repetitionPenalty: 1, seed: 3, step: 1, promptIds: prompts.map((_, i) => i) };
    const groups = await respond(model, prompts, { ...settings, ...noise });
    const lengths = groups.flat().map(({ tokens }) => tokens.length);
    expect(new Set(lengths).size).toBeGreaterThan(5);
    for (const [i, rollouts] of groups.entries()) {
      const items = [{ prompt: prompts[i]!, responses: rollouts.map(({ tokens }) => tokens) }];
      const whole = scope(() =>
        noGrad(() => {
          const { hidden, targets } = model.hidden(items);
          return model.score(hidden, targets).logProbs;
        }),
      );
      const stepwise = rollouts.flatMap(({ logProbs }) => logProbs);
      expect(largest(stepwise.map((each, t) => each - whole[t]!))).toBeLessThan(dtype === 'float64' ? 1e-11 : 1e-4);
    }
  });
});
