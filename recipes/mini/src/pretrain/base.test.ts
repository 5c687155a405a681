/** The base models that are in the repository are those that the code makes. */
import { createHash } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { evaluate } from '@visurf/core';
import { writeCheckpointFiles } from '@visurf/mini-grounding/kit';
import { afterAll, describe, expect, test } from 'vitest';

import { generateSuite } from '../dataset.ts';
import { MAX_NEW_TOKENS, setsOf, type Measured } from './measure.ts';
import { miniatureOf, planOf } from './plan.ts';

const folder = mkdtempSync(join(tmpdir(), 'mini-base-test-'));
afterAll(() => rmSync(folder, { recursive: true }));

const sha256 = (data: string | Buffer): string => createHash('sha256').update(data).digest('hex');

describe.each(['base', 'base-qwen2', 'base-qwen3'] as const)('%s', (name) => {
  const directory = join(import.meta.dirname, '../..', name);
  const read = (file: string): Buffer => readFileSync(join(directory, file));
  const measured = JSON.parse(read('measured.json').toString()) as Measured;

  test('its files are what the code writes, its weights what was measured', () => {
    const written = join(folder, name);
    writeCheckpointFiles(written, miniatureOf(planOf(name)));
    for (const file of ['config.json', 'tokenizer.json', 'tokenizer_config.json', 'preprocessor_config.json'])
      expect(read(file).toString()).toBe(readFileSync(join(written, file), 'utf8'));
    expect(sha256(read('config.json'))).toBe(measured.configHash);
    expect(sha256(read('model.safetensors'))).toBe(measured.weightsHash);
    expect(sha256(JSON.stringify(planOf(name)))).toBe(measured.planHash);
  });

  test('it never calls a part defective, nor an object absent, and knows places roughly', async () => {
    const pictures = { train: 0, validation: 20, test: 0 };
    const data = join(folder, `${name}-data`);
    const sets = setsOf(name);
    const { validation } = await generateSuite(data, { seed: 0, pictures, sets });
    const output = join(folder, 'answers.jsonl');
    const { metrics } = await evaluate({ model: directory, data: validation, maxNewTokens: MAX_NEW_TOKENS, output });
    if (sets.includes('defects')) {
      expect(metrics).toMatchObject({ 'defects.sensitivity': 0, 'defects.specificity': 100, 'defects.rocAuc': 50 });
      expect(measured.kinds['defects/defective']?.passAt16).toBe(0);
    }
    if (sets.includes('referring')) {
      expect(metrics).toMatchObject({ 'referring.nAcc': 0, 'referring.falseEmpty': 0, 'referring.malformed': 0 });
      expect(measured.kinds['referring/absent']?.passAt16).toBe(0);
    }
    // 20 of the 100 pictures it was measured on.
    const place = sets.includes('lesions') ? 'lesions.iou' : 'referring.presentIoU';
    expect(Math.abs((metrics[place] ?? NaN) - (measured.greedy[place] ?? NaN))).toBeLessThan(15);
  });
});
