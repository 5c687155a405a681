import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { live, openSafetensors, saveSafetensors, scope, type Tensor } from '@visurf/torch';
import { afterEach, beforeEach, expect, test } from 'vitest';

import { fixtures, tinyModel } from '../testing/oracle.ts';
import { loadLocalPolicy } from '../policy.ts';
import { mergeModels, type MergeMethod } from './merge.ts';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'visurf-merge-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

/** A copy of the tiny model with its weights changed. */
function changed(name: string, change: (values: Tensor) => Tensor, rename = (key: string): string => key): string {
  const directory = join(folder, name);
  cpSync(tinyModel, directory, { recursive: true });
  using weights = openSafetensors(tinyModel);
  scope(() => {
    const tensors = new Map(weights.names.map((key) => [rename(key), change(weights.get(key))]));
    saveSafetensors(join(directory, 'model.safetensors'), tensors);
  });
  return directory;
}

const key = 'model.layers.0.self_attn.q_proj.weight';
function valuesOf(directory: string): number[] {
  using weights = openSafetensors(directory);
  const name = weights.has(key) ? key : key.replace('model.', 'model.language_model.');
  return scope(() => weights.get(name).toArray());
}
const merge = (models: readonly [string, string], how: MergeMethod): number[] => {
  const { directory } = mergeModels(models, how, join(folder, 'merged'));
  const values = valuesOf(directory);
  rmSync(directory, { recursive: true });
  return values;
};
function expectClose(actual: readonly number[], expected: readonly number[]): void {
  expect(actual).toHaveLength(expected.length);
  actual.forEach((value, i) => expect(value).toBeCloseTo(expected[i]!, 6));
}

const base = valuesOf(tinyModel);
/** Turned round, so that it points elsewhere and has the same length. */
const turned = (values: Tensor): Tensor => values.view(-1).flip(0).view(...values.shape).clone(); // prettier-ignore

test('linear: the ends are the models, the middle is their mean', () => {
  const other = changed('other', turned);
  const reversed = [...base].reverse();
  expect(valuesOf(other)).toEqual(reversed);
  expectClose(merge([tinyModel, other], { method: 'linear', weight: 0 }), base);
  expectClose(merge([tinyModel, other], { method: 'linear', weight: 1 }), reversed);
  const quarter = base.map((value, i) => 0.75 * value + 0.25 * reversed[i]!);
  expectClose(merge([tinyModel, other], { method: 'linear', weight: 0.25 }), quarter);
});

test('slerp: along the arc between the two, which keeps the length', () => {
  const other = changed('other', turned);
  const reversed = [...base].reverse();
  const dot = (a: readonly number[], b: readonly number[]): number => a.reduce((sum, x, i) => sum + x * b[i]!, 0);
  const angle = Math.acos(dot(base, reversed) / dot(base, base));
  const weights = [Math.sin(0.7 * angle), Math.sin(0.3 * angle)].map((each) => each / Math.sin(angle));
  const merged = merge([tinyModel, other], { method: 'slerp', weight: 0.3 });
  expectClose(merged, base.map((value, i) => weights[0]! * value + weights[1]! * reversed[i]!)); // prettier-ignore
  expect(dot(merged, merged)).toBeCloseTo(dot(base, base), 4);
});

test('slerp of models in the same direction is linear', () => {
  const twice = changed('twice', (values) => values.mul(2));
  expectClose(merge([tinyModel, twice], { method: 'slerp', weight: 0.5 }), base.map((value) => 1.5 * value)); // prettier-ignore
});

test('task arithmetic adds what both learned to what both started from', () => {
  const [twice, half] = [changed('twice', (values) => values.mul(2)), changed('half', (values) => values.mul(0.5))];
  // c + 0.4 ((2c - c) + (c / 2 - c)) = 1.2 c
  const how = { method: 'task-arithmetic', base: tinyModel, scale: 0.4 } as const;
  expectClose(merge([twice, half], how), base.map((value) => 1.2 * value)); // prettier-ignore
});

test('the result is a model directory, in the dtype and the shards asked for, and leaves no handle', () => {
  const other = changed('other', turned, (name) => name.replace(/^model\./, 'model.language_model.'));
  const before = live().handles;
  const written = mergeModels([tinyModel, other], { method: 'linear', weight: 0.5 }, join(folder, 'out'), {
    dtype: 'bfloat16',
    maxShardBytes: 200_000,
  });
  expect(live().handles).toBe(before);
  expect(written).toMatchObject({ kind: 'model', dtype: 'bfloat16', directory: join(folder, 'out') });
  expect(written.files).toEqual(readdirSync(written.directory).sort());
  expect(written.files).toContain('model.safetensors.index.json');
  expect(readFileSync(join(written.directory, 'config.json'), 'utf8')).toContain('"bfloat16"');
  using policy = loadLocalPolicy(written.directory);
  expect(policy.model.config.text.tiedHead).toBeDefined();
});

test('what is not alike is refused, and nothing is written', () => {
  const how = { method: 'linear', weight: 0.5 } as const;
  const output = join(folder, 'out');
  const missing = changed('missing', (values) => values.clone(), (name) => name.replace('norm1', 'norm9')); // prettier-ignore
  expect(() => mergeModels([tinyModel, missing], how, output)).toThrow(/missing: has no tensor visual\.\S+norm1/);
  const flat = changed('flat', (values) => values.reshape(-1));
  expect(() => mergeModels([tinyModel, flat], how, output)).toThrow('in the first model [');
  expect(() => mergeModels([tinyModel, join(folder, 'none')], how, output)).toThrow('has no weights');
  const adapter = join(fixtures, 'tiny-qwen2_5-vl', 'adapters', 'language');
  expect(() => mergeModels([tinyModel, adapter], how, output)).toThrow('an adapter is no whole model');
  expect(() => mergeModels([tinyModel, tinyModel], how, folder)).toThrow('the directory is not empty');
  expect(readdirSync(folder).sort()).toEqual(['flat', 'missing']);
});
