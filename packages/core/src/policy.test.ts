import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

import { noGrad, scope } from '@visurf/torch';
import { afterAll, beforeAll, expect, test } from 'vitest';

import { exportModel } from './export/export.ts';
import { inspect } from './infer.ts';
import { loadPolicy } from './opened.ts';
import { loadLocalPolicy, locateModel } from './policy.ts';
import { tinyModel } from './testing/oracle.ts';

test('ids without a token are never sampled, however likely, and keep their place in log-probabilities', async () => {
  using policy = loadLocalPolicy(tinyModel);
  const { model, encoder } = policy;
  const missing = encoder.tokenizer.missingIds(model.config.text.vocabularySize);
  expect(missing.length).toBeGreaterThan(0);
  // A head that prefers them by far.
  const head = model.namedParameters().get('lm_head.weight')!;
  scope(() => noGrad(() => missing.forEach((id) => head.narrow(0, id, 1).mul_(20))));
  const prompt = await encoder.encode({ problem: 'red', images: [] });
  for (const temperature of [0.3, 1]) {
    const sampling = { temperature, topP: 1, topK: 0, repetitionPenalty: 1, maxNewTokens: 24, group: 4 };
    const [group = []] = await policy.sample([prompt], { ...sampling, seed: 3, step: 0, promptIds: [0] });
    const tokens = group.flatMap((rollout) => rollout.tokens);
    expect(tokens.filter((id) => missing.includes(id))).toEqual([]);
    // Of the full vocabulary: what cannot be said takes most of it.
    const mean = group.flatMap(({ logProbs }) => logProbs).reduce((a, b) => a + b) / tokens.length;
    expect(mean).toBeLessThan(-10);
  }
});

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'visurf-policy-'));
});
afterAll(() => rmSync(folder, { recursive: true }));

const settings = { rank: 2, alpha: 4, dropout: 0, rsLora: false, vision: false };

/** Writes a new adapter of the model that a directory holds. */
function adapterOf(base: string, directory: string): Record<string, unknown> {
  using policy = loadLocalPolicy(base);
  policy.addAdapter(settings, 1);
  exportModel(policy, directory);
  return JSON.parse(readFileSync(path.join(directory, 'adapter_config.json'), 'utf8')) as Record<string, unknown>;
}

test('an adapter names a base in a directory by the way to it, and says what is missing where it was moved alone', async () => {
  const before = path.join(folder, 'before');
  cpSync(tinyModel, path.join(before, 'models/base'), { recursive: true });
  const config = adapterOf(path.join(before, 'models/base'), path.join(before, 'adapters/cars'));
  expect([config['base_model_name_or_path'], config['revision']]).toEqual(['../../models/base', null]);

  const after = path.join(folder, 'elsewhere/after');
  mkdirSync(path.dirname(after));
  renameSync(before, after);
  const adapter = path.join(after, 'adapters/cars');
  expect(await locateModel(adapter)).toEqual({ base: path.join(after, 'models/base'), adapter });

  const alone = path.join(folder, 'alone');
  renameSync(adapter, alone);
  await expect(loadPolicy(alone)).rejects.toThrow('its base model ../../models/base is no directory here');
  await expect(loadPolicy(alone)).rejects.toThrow('--base DIR');
  using policy = await loadPolicy(alone, { base: tinyModel });
  expect(policy.peft?.r).toBe(2);
  using other = await loadPolicy(tinyModel, { adapter: alone });
  expect(other.peft?.base_model_name_or_path).toBe(tinyModel);
  await expect(loadPolicy(alone, { adapter: alone })).rejects.toThrow('is an adapter itself');
  await expect(loadPolicy(tinyModel, { base: tinyModel })).rejects.toThrow('has no base');
  const seen = await inspect(alone, { problem: 'red', images: [] }, { base: tinyModel });
  expect(seen.inputIds.length).toBeGreaterThan(0);
});

test('a base below its adapter is not taken for a name on the hub', () => {
  const adapter = path.join(folder, 'above');
  cpSync(tinyModel, path.join(folder, 'base/tiny'), { recursive: true });
  expect(adapterOf(path.join(folder, 'base/tiny'), adapter)['base_model_name_or_path']).toBe('../base/tiny');
});

test('an adapter names a base of the hub by its name and commit, and finds it again in the cache', async () => {
  const commit = '0123456789abcdef0123456789abcdef01234567';
  const cache = path.join(folder, 'hub');
  const snapshot = path.join(cache, 'models--owner--tiny-model/snapshots', commit);
  cpSync(tinyModel, snapshot, { recursive: true });
  const adapter = path.join(folder, 'of-the-hub');
  const config = adapterOf(snapshot, adapter);
  expect([config['base_model_name_or_path'], config['revision']]).toEqual(['owner/tiny-model', commit]);
  const options = { cacheDir: cache, offline: true };
  expect(await locateModel(adapter, options)).toEqual({ base: snapshot, adapter });

  // Written again, it still does; a path into another cache is the same name.
  using policy = await loadPolicy(adapter, options);
  const again = exportModel(policy, path.join(folder, 'again')).directory;
  expect(readFileSync(path.join(again, 'adapter_config.json'), 'utf8')).toContain('"owner/tiny-model"');
  const foreign = `/elsewhere/hub/models--owner--tiny-model/snapshots/${commit}`;
  const file = path.join(again, 'adapter_config.json');
  writeFileSync(file, JSON.stringify({ ...config, base_model_name_or_path: foreign, revision: null }));
  expect((await locateModel(again, options)).base).toBe(snapshot);
});

test('the best checkpoint of a run that was copied without links finds its base', async () => {
  const run = path.join(folder, 'runs/cars');
  const checkpoint = path.join(run, 'checkpoints/000002');
  mkdirSync(path.dirname(checkpoint), { recursive: true });
  writeFileSync(path.join(run, 'config.yaml'), '');
  cpSync(tinyModel, path.join(folder, 'tiny'), { recursive: true });
  adapterOf(path.join(folder, 'tiny'), checkpoint);
  const base = path.join(folder, 'tiny');
  expect((await locateModel(run)).base).toBe(base);
  const best = path.join(run, 'best');
  cpSync(checkpoint, best, { recursive: true });
  rmSync(path.join(run, 'checkpoints'), { recursive: true });
  expect(existsSync(checkpoint)).toBe(false);
  expect(await locateModel(best)).toEqual({ base, adapter: best });
});
