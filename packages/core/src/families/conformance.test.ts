/** What every checkpoint of every family goes through: recomputation, adapters, export. */
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { openSafetensors, scope, type SafetensorsIndex } from '@visurf/torch';
import { describe, expect, onTestFinished, test } from 'vitest';

import { exportModel } from '../export/export.ts';
import { isVision } from '../model/keys.ts';
import { addAdapters, adapterParameters, mergeAdapters } from '../model/lora.ts';
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

function expectClose(actual: ReadonlyMap<string, number[]>, expected: ReadonlyMap<string, number[]>): void {
  expect([...actual.keys()]).toEqual([...expected.keys()]);
  for (const [key, want] of expected) {
    const distance = largest(actual.get(key)!.map((value, i) => value - want[i]!));
    expect(distance / Math.max(largest(want), 1e-12), key).toBeLessThan(1e-11);
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
