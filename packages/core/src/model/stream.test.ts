/** The stream between layers in bfloat16: in every pass of every family, whatever is kept of it. */
import path from 'node:path';

import { noGrad, scope } from '@visurf/torch';
import { afterAll, describe, expect, test } from 'vitest';

import { parseConfig } from '../config/load.ts';
import { families } from '../families/index.ts';
import { loadLocalPolicy } from '../policy.ts';
import { loadStart, referenceOf } from '../start.ts';
import { fixtures, tinyModel } from '../testing/oracle.ts';
import { smallModel, variants, wholeStep } from '../testing/whole-step.ts';
import { logProbs } from '../update/log-probs.ts';

const half = { precision: 'bfloat16', stream: 'bfloat16' } as const;

describe.each(families)('$title', async (family) => {
  const directory = smallModel(family);
  const policy = loadLocalPolicy(directory, half);
  afterAll(() => policy[Symbol.dispose]());
  const { model, encoder } = policy;
  const prompts = await Promise.all(
    ['small-40x40.png', 'flat-90x60.png'].map((name, i) =>
      encoder.encode({ problem: 'the red one '.repeat(i + 1), images: [path.join(fixtures, 'images', name)] }),
    ),
  );

  test('layers and tower hand on bfloat16; logits, caches and gradients are not in it', () => {
    const items = prompts.map((prompt) => ({ prompt, responses: [[40, 41], [42]] }));
    const seen = new Set<string>();
    scope(() => {
      const { hidden } = model.hidden(items, ({ patches, features, layers }) => {
        for (const each of [...layers, patches, features]) if (each) seen.add(each.dtype);
      });
      seen.add(hidden.dtype);
    });
    expect([...seen]).toEqual(['bfloat16']);
    scope(() => {
      const pass = model.trained(items, { recomputed: true });
      const scored = model.score(pass.hidden, pass.targets);
      pass.backward(scored.pullback(scored.logProbs.map(() => 1)));
      expect(new Set(model.parameters().map(({ grad }) => grad?.dtype))).toEqual(new Set(['float32']));
      for (const each of model.parameters()) each.grad = undefined;
    });
    scope(() =>
      noGrad(() => {
        const prefilled = model.prefill(prompts);
        const own = model.fork(prefilled, 1, 4);
        const tokens = prompts.map(() => 40);
        const hidden = model.decode(tokens, prefilled.nextPositions, 1, prefilled, own, 0);
        expect([prefilled.last.dtype, hidden.dtype, model.logits(hidden).dtype]).toEqual([
          'bfloat16',
          'bfloat16',
          'float32',
        ]);
        for (const each of [...prefilled.caches, ...own])
          for (const x of Object.values(each)) expect(x.dtype).toBe('float32');
      }),
    );
  });

  test('prompts of different lengths have together the bits that each has alone', () => {
    const items = prompts.map((prompt) => ({ prompt, responses: [[40, 41, 42], [43]] }));
    expect(Array.from(logProbs(model, items))).toEqual(items.flatMap((each) => Array.from(logProbs(model, [each]))));
  });

  test.each(['plain', 'LoRA', 'frozen tower', 'four bits', 'several updates'])(
    'a step, %s: activations that are computed again give the same bits',
    async (name) => {
      const { train, ...others } = variants[name]!;
      const step = (changes: object) =>
        wholeStep(directory, 'cpu', { ...others, ...half, train: { ...(train as object), ...changes } });
      const [kept, again] = [await step({}), await step({ checkpointActivations: true })];
      expect(kept.update.gradientNorm).toBeGreaterThan(0);
      expect(again.update.loss).toBe(kept.update.loss);
      expect(again.parameters).toEqual(kept.parameters);
    },
  );
});

const configOf = (changes: object) =>
  parseConfig({ model: tinyModel, output: 'unused', steps: 1, data: { train: 'unused' }, ...changes });

test('the reference of a KL penalty computes as the policy does', async () => {
  const config = configOf({ ...half, objective: { kl: { coefficient: 0.1 } } });
  using policy = loadStart({ base: tinyModel, adapter: undefined }, undefined, config);
  const reference = referenceOf(policy, config)!;
  const prompt = await policy.encoder.encode({ problem: 'the red one', images: [] });
  const items = [{ prompt, responses: [[40, 41, 42, 43]] }];
  expect(logProbs(reference, items)).toEqual(logProbs(policy.model, items));
  reference.weightsChanged();
  reference.dispose();
});

test('a stream in bfloat16 between products in another precision is refused', () => {
  for (const precision of ['float32', 'float64'] as const) {
    expect(() => configOf({ precision, stream: 'bfloat16' })).toThrow('bfloat16 goes with precision: bfloat16');
    expect(() => loadLocalPolicy(tinyModel, { precision, stream: 'bfloat16' })).toThrow('products in bfloat16');
  }
  expect(configOf({ precision: 'bfloat16' }).stream).toBe('float32');
});
