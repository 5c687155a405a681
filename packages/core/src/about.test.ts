/** What is said of checkpoints, whose weights are not read. */
import { cpSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { expect, onTestFinished, test } from 'vitest';

import { aboutModel } from './about.ts';
import { chosenModules } from './model/lora.ts';
import { projections } from './model/projection.ts';
import type { VisionLanguageModel } from './model/vlm.ts';
import { layerCounts } from './model/recurrent-config.ts';
import { loadLocalPolicy } from './policy.ts';
import { configurationNames, openConfiguration } from './testing/configurations.ts';

const countOf = (shapes: Iterable<{ readonly numel: number }>): number =>
  [...shapes].reduce((sum, { numel }) => sum + numel, 0);

test.each(configurationNames)('%s: family, size, what is trained', async (name) => {
  const { model } = openConfiguration(name);
  const copy = mkdtempSync(join(tmpdir(), 'visurf-about-'));
  onTestFinished(() => rmSync(copy, { recursive: true }));
  cpSync(model, copy, { recursive: true, filter: (file) => !file.includes('safetensors') });
  const about = await aboutModel(copy);
  const policy = loadLocalPolicy(model);
  const { family } = policy.model.config;
  const named = [...policy.model.namedParameters()];
  const vision = countOf(named.filter(([key]) => key.startsWith('visual.')).map(([, each]) => each));
  const all = countOf(named.map(([, each]) => each));
  expect(about).toMatchObject({ family: family.title, modelType: family.name, coordinates: family.coordinates });
  const linear = [...projections(policy.model)].filter(([path]) => path.startsWith('model.layers.'));
  const packable = countOf(linear.map(([, { weight }]) => weight));
  expect(about.parameters).toEqual({ all, vision, packable });
  expect(about.thinks).toBe(policy.encoder.opening !== '');
  expect(about.ignored).toBe(family.ignored?.are);
  const [whole, frozen, language, both] = about.trained;
  expect([whole?.parameters, frozen?.parameters]).toEqual([all, all - vision]);
  const settings = { rank: 64, alpha: 128, dropout: 0, rsLora: false, vision: false };
  const { attention, recurrent } = layerCounts(policy.model.config.text);
  expect(language?.adapters).toBe(7 * attention + 8 * recurrent);
  expect(both!.adapters).toBeGreaterThan(language!.adapters!);
  policy.addAdapter({ ...settings, rank: rankOf(language!.parameters, policy.model) }, 1);
  const adapted = countOf(policy.model.parameters().filter(({ requiresGrad }) => requiresGrad));
  expect(adapted).toBe(language!.parameters);
  policy[Symbol.dispose]();
});

/** The rank of adapters on all projections of a decoder that have so many parameters. */
function rankOf(parameters: number, model: VisionLanguageModel): number {
  const known = projections(model);
  const shapes = chosenModules(model, { vision: false }).map((path) => known.get(path)!.weight.shape);
  return parameters / shapes.reduce((sum, [outputs = 0, inputs = 0]) => sum + outputs + inputs, 0);
}
