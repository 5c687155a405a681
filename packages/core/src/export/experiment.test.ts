/** What a model was trained by goes with it, and limits that are asked for replace those of the training. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { expect, onTestFinished, test } from 'vitest';

import { experimentFile, readSettings, settle } from '../question/settings.ts';
import { familyOf } from '../families/index.ts';
import { withExperiment } from './experiment.ts';

const { settings } = settle([{ from: '', settings: { prompt: 'find {Question}', minPixels: 784, maxPixels: 3136 } }]);
const family = familyOf('qwen2_vl');
const processor = 'preprocessor_config.json';
const files = { [processor]: (file: string) => writeFileSync(file, '{"min_pixels": 1, "max_pixels": 9}') };

function written(...options: Parameters<typeof withExperiment>): string {
  const folder = mkdtempSync(join(tmpdir(), 'visurf-carried-'));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  for (const [name, write] of Object.entries(withExperiment(...options))) write(join(folder, name));
  return folder;
}
const limitsOf = (folder: string): unknown => JSON.parse(readFileSync(join(folder, processor), 'utf8'));

test('settings and the limits of the training', () => {
  const folder = written(files, family, settings);
  expect(readSettings(folder)).toEqual(settings);
  expect(limitsOf(folder)).toEqual({ min_pixels: 784, max_pixels: 3136 });
});

test('limits that are asked for count for whoever reads either file', () => {
  const folder = written(files, family, settings, { maxPixels: 7056 });
  expect(readSettings(folder)).toEqual({ ...settings, maxPixels: 7056 });
  expect(limitsOf(folder)).toEqual({ min_pixels: 784, max_pixels: 7056 });
});

test('a model that carries nothing still carries nothing', () => {
  expect(Object.keys(withExperiment(files, family, undefined))).not.toContain(experimentFile);
  expect(limitsOf(written(files, family, undefined))).toEqual({ min_pixels: 1, max_pixels: 9 });
});
