import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { loadModelConfig } from '../families/config.ts';
import { loadImageSettings, loadVideoSettings, patchesOf } from '../prompt/image.ts';
import { fixtures } from '../testing/oracle.ts';
import { companionFiles } from './huggingface.ts';
import { withPixelLimits, type PixelLimits } from './processor.ts';

const familyFor = (directory: string) => loadModelConfig(directory).family;

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'visurf-processor-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

/** The companions of a model, written with limits. */
function written(origin: string, limits: PixelLimits): string {
  const output = mkdtempSync(path.join(folder, 'output-'));
  const files = withPixelLimits(companionFiles(false, origin, 'float32'), familyFor(origin).processor, limits);
  for (const [name, write] of Object.entries(files)) write(path.join(output, name));
  return output;
}

const models = [
  'tiny-qwen2_5-vl/model',
  'configurations/qwen2_5-windows/model',
  'configurations/qwen2-hub/model',
  'configurations/qwen2_5-hub/model',
  'configurations/qwen3_vl-hub/model',
  'configurations/qwen3_vl-v5/model',
].map((name) => path.join(fixtures, name));

test.each(models)('limits come back from the files that %s has, in the form that they have', (origin) => {
  const processor = patchesOf(familyFor(origin));
  const both = written(origin, { minPixels: 6272, maxPixels: 50_176 });
  for (const read of [loadImageSettings, loadVideoSettings]) {
    expect(read(both, processor)).toEqual({ ...read(origin, processor), minPixels: 6272, maxPixels: 50_176 });
  }
  // Below the least area that videos have in some files.
  const most = written(origin, { maxPixels: 50_176 });
  const { minPixels } = loadImageSettings(origin, processor);
  expect(loadImageSettings(most, processor)).toMatchObject({ minPixels, maxPixels: 50_176 });
  expect(loadVideoSettings(most, processor).maxPixels).toBe(50_176);
  const none = written(origin, {});
  expect(loadImageSettings(none, processor)).toEqual(loadImageSettings(origin, processor));
  for (const name of ['preprocessor_config.json', 'processor_config.json']) {
    const keys = (directory: string): unknown => {
      try {
        return Object.keys(JSON.parse(readFileSync(path.join(directory, name), 'utf8')) as object).sort();
      } catch {
        return undefined;
      }
    };
    expect(keys(both)).toEqual(keys(origin));
  }
});

test('a file that states nothing states the limits as the hub does', () => {
  const origin = path.join(folder, 'origin');
  cpSync(path.join(fixtures, 'configurations/qwen2_5-hub/model'), origin, { recursive: true });
  const file = path.join(origin, 'preprocessor_config.json');
  const { min_pixels: _, max_pixels: __, size: ___, ...rest } = JSON.parse(readFileSync(file, 'utf8')) as Record<string, unknown>; // prettier-ignore
  writeFileSync(file, JSON.stringify(rest));
  const output = written(origin, { maxPixels: 100_352 });
  expect(JSON.parse(readFileSync(path.join(output, 'preprocessor_config.json'), 'utf8'))).toEqual({ ...rest, max_pixels: 100_352 }); // prettier-ignore
});
