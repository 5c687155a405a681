/** The base model that is in the repository is the one that the code makes. */
import { createHash } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { evaluate } from '@visurf/core';
import { afterAll, expect, test } from 'vitest';

import { writeCheckpointFiles } from '../checkpoint.ts';
import { generateDataset } from '../dataset.ts';
import { BASE_MODEL } from '../index.ts';
import type { Measured } from './measure.ts';
import { PLAN } from './plan.ts';

const folder = mkdtempSync(join(tmpdir(), 'mini-base-test-'));
afterAll(() => {
  rmSync(folder, { recursive: true });
});

const read = (...path: string[]): Buffer => readFileSync(join(...path));
const sha256 = (data: string | Buffer): string => createHash('sha256').update(data).digest('hex');
const measured = JSON.parse(read(BASE_MODEL, 'measured.json').toString()) as Measured;

test('its files are what the code writes, its weights what was measured', () => {
  writeCheckpointFiles(folder);
  for (const name of ['config.json', 'tokenizer.json', 'tokenizer_config.json', 'preprocessor_config.json'])
    expect(read(BASE_MODEL, name).toString()).toBe(read(folder, name).toString());
  expect(sha256(read(BASE_MODEL, 'config.json'))).toBe(measured.configHash);
  expect(sha256(read(BASE_MODEL, 'model.safetensors'))).toBe(measured.weightsHash);
  expect(sha256(JSON.stringify(PLAN))).toBe(measured.planHash);
});

test('it finds what is there, and never says that nothing is', async () => {
  const { validation } = await generateDataset(folder, { seed: 0, images: { train: 0, validation: 20, test: 0 } });
  const output = join(folder, 'answers.jsonl');
  const { metrics } = await evaluate({ model: BASE_MODEL, data: validation, maxNewTokens: 40, output });
  // 20 of the 200 images it was measured on.
  expect(Math.abs((metrics.presentIoU ?? NaN) - (measured.greedy.presentIoU ?? NaN))).toBeLessThan(6);
  expect(metrics).toMatchObject({ nAcc: 0, falseEmpty: 0, thinking: 100 });
  expect(measured.passAt16Empty).toBe(0);
});
