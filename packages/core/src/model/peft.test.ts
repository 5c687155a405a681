/** PEFT's adapters on the tiny model, against what PEFT computed with them (oracle/peft_adapter.py). */
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { live, noGrad, SafetensorsFile, saveSafetensors, scope, zeros, type FloatDType } from '@visurf/torch';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';

import { fixtures, oracleCases, oraclePrompt, tinyModel, type OracleCase } from '../testing/oracle.ts';
import { loadModel } from '../families/load.ts';
import { adapterParameters, adaptersOf, attachAdapters, chosenModules, mergeAdapters, asReference } from './lora.ts';
import {
  adapterFiles,
  baseDirectory,
  keepStart,
  loadAdapter,
  makePeftConfig,
  missingBase,
  readPeftConfig,
} from './peft.ts';
import type { VisionLanguageModel } from './vlm.ts';

const adapterOf = (name: string): string => join(fixtures, 'tiny-qwen2_5-vl', 'adapters', name);

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'visurf-peft-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

type Expected = Record<string, { logProbs: number[]; logProbs64: number[] }[]>;
const expectedOf = (name: string): Expected =>
  JSON.parse(readFileSync(join(adapterOf(name), 'expected.json'), 'utf8')) as Expected;

const largest = (a: ArrayLike<number>, b: ArrayLike<number>): number =>
  Array.from(a).reduce((most, each, i) => Math.max(most, Math.abs(each - (b[i] ?? NaN))), 0);

function logProbs(model: VisionLanguageModel, each: OracleCase): number[][] {
  const responses = each.responses.map(({ tokens }) => tokens);
  return scope(() =>
    noGrad(() => {
      const { hidden, targets } = model.hidden([{ prompt: oraclePrompt(each), responses }]);
      const flat = Array.from(model.score(hidden, targets).logProbs);
      return responses.map(({ length }) => flat.splice(0, length));
    }),
  );
}

/** Largest difference over all cases and responses. */
const distance = (model: VisionLanguageModel, expected: (each: OracleCase, response: number) => number[]): number =>
  Math.max(...oracleCases.flatMap((each) => logProbs(model, each).map((mine, j) => largest(mine, expected(each, j)))));

function withAdapter<T>(name: string, dtype: FloatDType, body: (model: VisionLanguageModel) => T): T {
  const model = loadModel(tinyModel, { dtype });
  try {
    loadAdapter(model, adapterOf(name));
    return body(model);
  } finally {
    model.weightsChanged();
    model.dispose();
  }
}

describe.each(['language', 'vision'])('%s', (name) => {
  test('log-probabilities; the base with the adapter off', () => {
    const expected = expectedOf(name);
    withAdapter(name, 'float32', (model) =>
      expect(distance(model, (each, j) => expected[each.name]![j]!.logProbs)).toBeLessThan(1e-4),
    );
    withAdapter(name, 'float64', (model) => {
      expect(distance(model, (each, j) => expected[each.name]![j]!.logProbs64)).toBeLessThan(1e-9);
      asReference(model, () => expect(distance(model, (each, j) => each.responses[j]!.logProbs64)).toBeLessThan(1e-9));
    });
  });

  test('what training started from is kept beside what it makes of it', () => {
    const expected = expectedOf(name);
    const before = live().handles;
    withAdapter(name, 'float64', (model) => {
      keepStart(model, adapterOf(name));
      for (const each of adapterParameters(model).values()) scope(() => noGrad(() => each.mul_(0.5)));
      const fromStart = () => distance(model, (each, j) => expected[each.name]![j]!.logProbs64);
      expect(asReference(model, fromStart)).toBeLessThan(1e-9);
      expect(fromStart()).toBeGreaterThan(0.1);
      for (const adapter of adaptersOf(model).values()) adapter.forgetStart();
    });
    expect(live().handles).toBe(before);
  });

  test('gradients of A and B, and of nothing else', () => {
    withAdapter(name, 'float64', (model) => {
      for (const each of oracleCases) {
        scope(() => {
          const responses = each.responses.map(({ tokens }) => tokens);
          const { hidden, targets } = model.hidden([{ prompt: oraclePrompt(each), responses }]);
          const weights = each.responses.flatMap(({ tokens, weight }) => tokens.map(() => weight));
          hidden.backward(model.score(hidden, targets).pullback(Float64Array.from(weights)));
        });
      }
      const trained = adapterParameters(model);
      const { reference } = model.config.family.keys;
      using expected = new SafetensorsFile(join(adapterOf(name), 'gradients.safetensors'));
      expect([...trained.keys()].map((key) => `base_model.model.${reference(key)}`).sort()).toEqual(
        expected.names.sort(),
      );
      scope(() => {
        for (const [key, { grad }] of trained) {
          const mine = grad?.toFloat64Array() ?? [];
          const theirs = expected.get(`base_model.model.${reference(key)}`).toFloat64Array();
          const scale = theirs.reduce((most, value) => Math.max(most, Math.abs(value)), 1e-12);
          expect(largest(mine, theirs) / scale, key).toBeLessThan(1e-8);
        }
      });
      expect(model.parameters().filter(({ grad }) => grad !== undefined)).toHaveLength(trained.size);
    });
  });

  test('merged, the model is what it was with the adapter, and not the base', () => {
    const expected = expectedOf(name);
    const before = live().handles;
    withAdapter(name, 'float32', (model) => {
      const unmerged = new Map(oracleCases.map((each) => [each.name, logProbs(model, each)]));
      mergeAdapters(model);
      expect(adapterParameters(model).size).toBe(0);
      expect(distance(model, (each, j) => unmerged.get(each.name)![j]!)).toBeLessThan(1e-4);
      expect(distance(model, (each, j) => each.responses[j]!.logProbs)).toBeGreaterThan(1);
    });
    expect(live().handles).toBe(before);
    withAdapter(name, 'float64', (model) => {
      mergeAdapters(model);
      expect(distance(model, (each, j) => expected[each.name]![j]!.logProbs64)).toBeLessThan(1e-9);
    });
  });

  test('files as PEFT writes them', () => {
    withAdapter(name, 'float32', (model) => {
      const theirs = readPeftConfig(adapterOf(name));
      for (const [file, write] of Object.entries(adapterFiles(model, theirs))) write(join(folder, file));
      expect(readPeftConfig(folder)).toEqual(theirs);
      using written = new SafetensorsFile(join(folder, 'adapter_model.safetensors'));
      using original = new SafetensorsFile(join(adapterOf(name), 'adapter_model.safetensors'));
      expect(written.names).toEqual(original.names);
      expect(written.metadata).toEqual(original.metadata);
      scope(() => {
        for (const key of original.names) {
          expect(written.dtypeOf(key)).toBe(original.dtypeOf(key));
          expect(written.get(key).toArray(), key).toEqual(original.get(key).toArray());
        }
      });
    });
  });
});

test('a configuration of our own has the fields and values of PEFT', () => {
  withAdapter('language', 'float32', (model) => {
    const theirs = JSON.parse(readFileSync(join(adapterOf('language'), 'adapter_config.json'), 'utf8')) as object;
    const settings = { rank: 4, alpha: 8, dropout: 0.1, rsLora: false, targets: ['v_proj', 'q_proj'], vision: false };
    const mine = makePeftConfig(model, settings, tinyModel);
    expect(theirs).toMatchObject({ ...mine, base_model_name_or_path: '../../model' });
  });
});

test('target modules: names where PEFT expands them to the same layers, else paths', () => {
  const model = loadModel(tinyModel);
  const settings = { rank: 1, alpha: 1, dropout: 0, rsLora: false };
  const written = (targets: string | string[] | undefined, vision: boolean): unknown => {
    const modules = chosenModules(model, { targets, vision });
    const copy = loadModel(tinyModel);
    attachAdapters(copy, modules, { ...settings, vision });
    const { target_modules: names } = makePeftConfig(copy, { ...settings, targets, vision }, tinyModel);
    copy.dispose();
    return [modules.length, names];
  };
  expect(written(['q_proj', 'o_proj'], false)).toEqual([6, ['o_proj', 'q_proj']]);
  expect(written(String.raw`.*\.layers\.[01]\..*k_proj`, false)).toEqual([
    2,
    [0, 1].map((layer) => `model.language_model.layers.${layer}.self_attn.k_proj`),
  ]);
  // The vision tower has layers of that name, too.
  expect(written(['up_proj'], true)).toEqual([6, ['up_proj']]);
  expect(written(['up_proj'], false)).toEqual([
    3,
    [0, 1, 2].map((layer) => `model.language_model.layers.${layer}.mlp.up_proj`),
  ]);
  expect(chosenModules(model, { targets: undefined, vision: false })).toHaveLength(3 * 7);
  expect(chosenModules(model, { targets: undefined, vision: true })).toHaveLength(3 * 7 + 3 * 5);
  expect(() => chosenModules(model, { targets: ['q_pro'], vision: false })).toThrow('did you mean q_proj?');
  expect(() => chosenModules(model, { targets: ['qkv'], vision: false })).toThrow('train.lora.vision: true');
  expect(() => chosenModules(model, { targets: 'nothing', vision: true })).toThrow('matches "nothing"');
  expect(() => chosenModules(model, { targets: '(([a-z._0-9]+)+)+!', vision: true })).toThrow(
    'train.lora.targets: the regular expression "(([a-z._0-9]+)+)+!" takes more than',
  );
  model.dispose();
});

describe('hostile or damaged files', () => {
  const copy = (change: (config: Record<string, unknown>) => void): void => {
    cpSync(adapterOf('language'), folder, { recursive: true });
    const file = join(folder, 'adapter_config.json');
    const config = JSON.parse(readFileSync(file, 'utf8')) as Record<string, unknown>;
    change(config);
    writeFileSync(file, JSON.stringify(config));
  };
  const load = (): void => {
    const model = loadModel(tinyModel);
    try {
      loadAdapter(model, folder);
    } finally {
      model.dispose();
    }
  };

  test.each([
    ['use_dora', true, 'DoRA is not supported'],
    ['peft_type', 'IA3', 'only LoRA'],
    ['bias', 'all', 'biases'],
    ['rank_pattern', { q_proj: 2 }, 'a rank per module'],
    ['init_lora_weights', 'pissa', 'initialisation'],
    ['modules_to_save', ['lm_head'], 'whole modules'],
    ['r', 1e9, 'has shape [4, 64], r and the base model ask for [1000000000, 64]'],
    ['target_modules', ['q_proj', 'v_proj', 'k_proj'], 'layers.0.self_attn.k_proj.lora_A.weight is missing'],
    ['target_modules', 7, 'target_modules'],
  ])('%s: %j', (key, value, message) => {
    copy((config) => (config[key] = value));
    expect(load).toThrow(message);
  });

  test('a pattern is never run', () => {
    copy((config) => (config['target_modules'] = `(.+)+(.+)+(.+)+${'x'.repeat(90)}`));
    expect(load).not.toThrow();
    copy((config) => (config['target_modules'] = 'x'.repeat(20_000)));
    expect(load).toThrow('target_modules');
  });

  test('tensors that are missing, extra or misshapen', () => {
    copy(() => undefined);
    const file = join(folder, 'adapter_model.safetensors');
    const rewrite = (change: (tensors: Map<string, ReturnType<typeof zeros>>) => void): void =>
      scope(() => {
        const original = new SafetensorsFile(join(adapterOf('language'), 'adapter_model.safetensors'));
        const tensors = new Map(original.names.map((name) => [name, original.get(name)]));
        change(tensors);
        saveSafetensors(file, tensors);
        original.close();
      });
    const name = 'base_model.model.model.language_model.layers.1.self_attn.q_proj.lora_B.weight';
    rewrite((tensors) => tensors.delete(name));
    expect(load).toThrow(`${name} is missing`);
    rewrite((tensors) => tensors.set(name, zeros([63, 4])));
    expect(load).toThrow('has shape [63, 4]');
    rewrite((tensors) => tensors.set('base_model.model.lm_head.lora_A.weight', zeros([4, 64])));
    expect(load).toThrow('no place for tensor base_model.model.lm_head.lora_A.weight');
    rmSync(file);
    expect(load).toThrow('adapter_model.safetensors is missing');
  });

  test('the base is found beside the adapter, or named as missing', () => {
    expect(baseDirectory(adapterOf('vision'))).toBe(tinyModel);
    copy((config) => (config['base_model_name_or_path'] = 'Qwen/Qwen2.5-VL-3B-Instruct'));
    expect(baseDirectory(folder)).toBeUndefined();
    expect(missingBase(folder).message).toContain('Qwen/Qwen2.5-VL-3B-Instruct is no directory here');
    expect(missingBase(folder).message).toContain('--base DIR');
  });
});
