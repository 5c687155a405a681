/** Exports against what `save_pretrained` wrote (the tiny model) and what PEFT computed (its adapters). */
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { live, noGrad, openSafetensors, SafetensorsFile, scope } from '@visurf/torch';
import { afterEach, beforeEach, expect, test } from 'vitest';

import { fixtures, oracleCases, oraclePrompt, tinyModel } from '../testing/oracle.ts';
import { loadLocalPolicy, type Policy } from '../policy.ts';
import { statedDtype } from './config.ts';
import { exportModel, type ExportOptions } from './export.ts';

const adapter = join(fixtures, 'tiny-qwen2_5-vl', 'adapters', 'language');

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'visurf-export-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

function exported(source: string, name: string, options: ExportOptions = {}): string {
  using policy = loadLocalPolicy(source);
  const result = exportModel(policy, join(folder, name), options);
  expect(result.files).toEqual(readdirSync(result.directory).sort());
  return result.directory;
}

/** Log-probabilities of all responses of the cases. */
const logProbs = ({ model }: Policy): number[] =>
  oracleCases.flatMap((each) =>
    scope(() =>
      noGrad(() => {
        const responses = each.responses.map(({ tokens }) => tokens);
        const { hidden, targets } = model.hidden([{ prompt: oraclePrompt(each), responses }]);
        return Array.from(model.score(hidden, targets).logProbs);
      }),
    ),
  );
const logProbsOf = (directory: string): number[] => {
  using policy = loadLocalPolicy(directory);
  return logProbs(policy);
};
const distance = (a: readonly number[], b: readonly number[]): number =>
  a.reduce((most, each, i) => Math.max(most, Math.abs(each - (b[i] ?? NaN))), 0);

test('a checkpoint of the reference comes back as it was: files, names, shapes, dtypes, values', () => {
  const before = live().handles;
  const directory = exported(tinyModel, 'same');
  expect(live().handles).toBe(before);
  expect(readdirSync(directory).sort()).toEqual(readdirSync(tinyModel).sort());
  for (const name of readdirSync(tinyModel).filter((each) => !each.endsWith('.safetensors'))) {
    expect(readFileSync(join(directory, name), 'utf8'), name).toBe(readFileSync(join(tinyModel, name), 'utf8'));
  }
  using mine = new SafetensorsFile(join(directory, 'model.safetensors'));
  using theirs = new SafetensorsFile(join(tinyModel, 'model.safetensors'));
  expect(mine.names).toEqual(theirs.names);
  expect(mine.metadata).toEqual(theirs.metadata);
  scope(() => {
    for (const name of theirs.names) {
      expect(mine.shapeOf(name)).toEqual(theirs.shapeOf(name));
      expect(mine.dtypeOf(name)).toBe(theirs.dtypeOf(name));
      expect(mine.get(name).toArray(), name).toEqual(theirs.get(name).toArray());
    }
  });
});

test('in shards, with an index', () => {
  const directory = exported(tinyModel, 'shards', { maxShardBytes: 300_000 });
  const names = readdirSync(directory).filter((name) => name.includes('safetensors'));
  expect(names).toEqual([
    ...[1, 2, 3, 4].map((i) => `model-0000${i}-of-00004.safetensors`),
    'model.safetensors.index.json',
  ]);
  using weights = openSafetensors(directory);
  using theirs = new SafetensorsFile(join(tinyModel, 'model.safetensors'));
  expect(weights.names).toEqual(theirs.names);
  expect(logProbsOf(directory)).toEqual(logProbsOf(tinyModel));
});

test('config.json states the dtype of the weights, and a checkpoint is exported in the one that it states', () => {
  const half = exported(tinyModel, 'half', { dtype: 'bfloat16' });
  expect(statedDtype(join(half, 'config.json'))).toBe('bfloat16');
  using weights = new SafetensorsFile(join(half, 'model.safetensors'));
  expect(new Set(weights.names.map((name) => weights.dtypeOf(name)))).toEqual(new Set(['bfloat16']));
  expect(distance(logProbsOf(half), logProbsOf(tinyModel))).toBeLessThan(1);

  // As files before transformers 5 say it, and within the parts, too.
  const file = join(half, 'config.json');
  const config = JSON.parse(readFileSync(file, 'utf8')) as Record<string, Record<string, unknown>>;
  const { dtype, ...rest } = config;
  rest['text_config']!['torch_dtype'] = dtype;
  writeFileSync(file, JSON.stringify({ ...rest, torch_dtype: dtype }));
  const again = exported(half, 'again');
  expect(statedDtype(join(again, 'config.json'))).toBe('bfloat16');
  const full = exported(half, 'full', { dtype: 'float32' });
  const written = JSON.parse(readFileSync(join(full, 'config.json'), 'utf8')) as typeof config;
  expect([written['torch_dtype'], written['text_config']!['torch_dtype']]).toEqual(['float32', 'float32']);
  expect(logProbsOf(full)).toEqual(logProbsOf(half));
});

test('an adapter: alone, or merged', () => {
  const alone = exported(adapter, 'alone');
  expect(readdirSync(alone).sort()).toEqual(['adapter_config.json', 'adapter_model.safetensors']);
  expect(logProbsOf(alone)).toEqual(logProbsOf(adapter));
  const merged = exported(adapter, 'merged', { merge: true });
  expect(readdirSync(merged).sort()).toEqual(readdirSync(tinyModel).sort());
  expect(distance(logProbsOf(merged), logProbsOf(adapter))).toBeLessThan(1e-4);
  expect(distance(logProbsOf(merged), logProbsOf(tinyModel))).toBeGreaterThan(1);
  {
    // Exporting leaves the policy as it is.
    using policy = loadLocalPolicy(tinyModel, { adapter });
    const before = logProbs(policy);
    exportModel(policy, join(folder, 'other'), { merge: true });
    expect(logProbs(policy)).toEqual(before);
  }
});

test('nothing is overwritten, and nothing half done stays', () => {
  using policy = loadLocalPolicy(tinyModel);
  mkdirSync(join(folder, 'full'));
  writeFileSync(join(folder, 'full', 'mine.txt'), '');
  expect(() => exportModel(policy, join(folder, 'full'))).toThrow('the directory is not empty');
  expect(() => exportModel(policy, join(folder, 'none'), { merge: true })).toThrow('no adapter to merge');
  mkdirSync(join(folder, 'empty'));
  const bad = { directory: join(folder, 'nowhere'), model: policy.model, peft: undefined };
  expect(() => exportModel(bad, join(folder, 'empty'), { dtype: 'float32' })).toThrow();
  expect(readdirSync(folder).sort()).toEqual(['empty', 'full']);
  expect(readdirSync(join(folder, 'empty'))).toEqual([]);
  exportModel(policy, join(folder, 'empty'));
  expect(existsSync(join(folder, 'empty', 'model.safetensors'))).toBe(true);
});
