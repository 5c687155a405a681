/** What every checkpoint of every family goes through: recomputation, adapters, export. */
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { openSafetensors, scope, type SafetensorsIndex } from '@visurf/torch';
import { describe, expect, onTestFinished, test } from 'vitest';

import { exportModel } from '../export/export.ts';
import { isVision } from '../model/keys.ts';
import { Draws } from '../model/dropout.ts';
import { addAdapters, adapterParameters, adaptersOf, mergeAdapters, withDropout } from '../model/lora.ts';
import type { PromptWithResponses } from '../model/pack.ts';
import { projections } from '../model/projection.ts';
import type { VisionLanguageModel } from '../model/vlm.ts';
import { loadLocalPolicy } from '../policy.ts';
import { configurationNames, openConfiguration } from '../testing/configurations.ts';
import { openSubject } from '../testing/parity.ts';
import { logProbs } from '../update/log-probs.ts';
import { loadModel } from './load.ts';

const largest = (values: readonly number[]): number => values.reduce((a, b) => Math.max(a, Math.abs(b)), 0);

function gradients(
  model: VisionLanguageModel,
  items: readonly PromptWithResponses[],
  again: boolean,
): Map<string, number[]> {
  const named = model.namedParameters();
  for (const each of named.values()) each.grad = undefined;
  scope(() => {
    const pass = model.trained(items, { recomputed: again });
    const scored = model.score(pass.hidden, pass.targets);
    pass.backward(scored.pullback(scored.logProbs.map((_, i) => Math.sin(i + 1))));
  });
  return scope(() => new Map([...named].flatMap(([key, { grad }]) => (grad ? [[key, grad.toArray()] as const] : []))));
}

function expectClose(
  actual: ReadonlyMap<string, number[]>,
  expected: ReadonlyMap<string, number[]>,
  tolerance = 1e-11,
): void {
  expect([...actual.keys()]).toEqual([...expected.keys()]);
  for (const [key, want] of expected) {
    const distance = largest(actual.get(key)!.map((value, i) => value - want[i]!));
    expect(distance / Math.max(largest(want), 1e-12), key).toBeLessThan(tolerance);
  }
}

function scratch(): string {
  const folder = mkdtempSync(join(tmpdir(), 'visurf-family-'));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  return folder;
}

describe.each(configurationNames)('%s', async (name) => {
  const { configuration, prompts } = await openSubject(openConfiguration(name));
  const items = prompts.map((prompt, i) => ({
    prompt,
    responses: configuration.cases[i]!.responses.map(({ tokens }) => tokens),
  }));

  test('activations that are computed again give every parameter the same gradient', () => {
    const model = loadModel(configuration.model, { dtype: 'float64' });
    const expected = gradients(model, items, false);
    expect(expected.size).toBe(model.namedParameters().size);
    expectClose(gradients(model, items, true), expected);
    for (const [key, each] of model.namedParameters()) each.requiresGrad_(!isVision(key));
    const frozen = gradients(model, items, false);
    expect([...frozen.keys()].some(isVision)).toBe(false);
    expectClose(gradients(model, items, true), frozen);
    model.dispose();
  });

  test('adapters of every linear layer learn, and merged they compute the same', () => {
    const model = loadModel(configuration.model, { dtype: 'float64' });
    const targets = [...new Set([...projections(model).keys()].map((path) => path.slice(path.lastIndexOf('.') + 1)))];
    addAdapters(model, { rank: 2, alpha: 4, dropout: 0, rsLora: false, vision: true, targets }, 3);
    const factors = adapterParameters(model);
    expect(factors.size).toBe(2 * projections(model).size);
    for (const [key, each] of factors) if (key.includes('lora_B')) scope(() => each.detach().uniform_(-0.1, 0.1));
    const learnt = gradients(model, items, false);
    // What joins the stream behind its last layer says nothing to the tokens after it.
    const matters = (key: string) => configuration.gradient.largest[key.replace(/lora\.[AB]$/, 'weight')]! > 0;
    for (const [key, values] of learnt) expect(largest(values) > 0, key).toBe(matters(key));
    expectClose(gradients(model, items, true), learnt);
    const before = logProbs(model, items);
    mergeAdapters(model);
    expect(largest(Array.from(logProbs(model, items), (value, i) => value - before[i]!))).toBeLessThan(1e-9);
    model.weightsChanged();
    model.dispose();
  });

  test('dropout is of a sequence, whatever else is computed with it and how', { timeout: 180_000 }, () => {
    const model = loadModel(configuration.model, { dtype: 'float64' });
    const targets = [...new Set([...projections(model).keys()].map((path) => path.slice(path.lastIndexOf('.') + 1)))];
    addAdapters(model, { rank: 2, alpha: 4, dropout: 0.3, rsLora: false, vision: true, targets }, 3);
    for (const { B } of adaptersOf(model).values()) scope(() => B.detach().uniform_(-0.1, 0.1));
    const [first, last] = [items[0]!, items.at(-1)!];
    const groups = [first, last].map((item) => ({ item, responses: [...item.responses.keys()] }));
    // A single response: alone it is a row without a shared prefix.
    groups.push({ item: { ...last, responses: last.responses.slice(1, 2) }, responses: [1] });
    const named = adapterParameters(model);
    const learnt = (
      micros: readonly (readonly number[])[],
      { recomputed = false, step = 1 } = {},
    ): Map<string, number[]> => {
      for (const each of named.values()) each.grad = undefined;
      for (const micro of micros) {
        const drawn = micro.map((place) => ({ place, responses: groups[place]!.responses }));
        const draws = new Draws({ seed: 5, step, update: 0 }, drawn);
        withDropout(model, draws, () =>
          scope(() => {
            const pass = model.trained(micro.map((place) => groups[place]!.item), { recomputed, draws }); // prettier-ignore
            const scored = model.score(pass.hidden, pass.targets);
            const tokens = micro.flatMap((place) =>
              groups[place]!.item.responses.flatMap(({ length }, k) =>
                Array.from({ length }, (_, t) => Math.sin(1 + place + 10 * k + 100 * t)),
              ),
            );
            pass.backward(scored.pullback(Float64Array.from(tokens)));
          }),
        );
      }
      return scope(() => new Map([...named].map(([key, { grad }]) => [key, grad!.toArray()] as const)));
    };
    const all = [...groups.keys()];
    const expected = learnt([all]);
    const alone = all.map((place) => [place]);
    expectClose(learnt(alone), expected, 1e-12);
    expectClose(learnt([[1, 0], [2]], { recomputed: true }), expected, 1e-12);
    // What joins the stream behind its last layer learns nothing.
    const others = learnt(alone, { step: 2 });
    for (const [key, values] of expected) if (largest(values) > 0) expect(others.get(key), key).not.toEqual(values);
    model.dispose();
  });

  test('an export is what was loaded: names, dtypes, values, and every other file', () => {
    const folder = join(scratch(), 'out');
    const policy = loadLocalPolicy(configuration.model);
    exportModel(policy, folder, { dtype: dtypeOf(configuration.model) });
    policy[Symbol.dispose]();
    using mine = openSafetensors(folder);
    using theirs = openSafetensors(configuration.model);
    const { keys: family, ignored } = policy.model.config.family;
    const read = theirs.names.filter((each) => !ignored?.names.test(each));
    const usual = read.map((each) => (each === 'lm_head.weight' ? each : family.inFile(family.own(each))[0]!));
    expect([...mine.names].sort()).toEqual([...usual].sort());
    scope(() => {
      for (const [i, each] of read.entries()) {
        expect(mine.dtypeOf(usual[i]!)).toBe(theirs.dtypeOf(each));
        expect(mine.get(usual[i]!).toArray(), each).toEqual(theirs.get(each).toArray());
      }
    });
    const others = readdirSync(configuration.model).filter((file) => !/safetensors|^config\.json$/.test(file));
    for (const file of others) {
      expect(readFileSync(join(folder, file), 'utf8'), file).toBe(
        readFileSync(join(configuration.model, file), 'utf8'),
      );
    }
  });
});

function dtypeOf(directory: string): 'float32' | 'bfloat16' {
  using weights: SafetensorsIndex = openSafetensors(directory);
  return weights.names.some((name) => weights.dtypeOf(name) === 'bfloat16') ? 'bfloat16' : 'float32';
}
