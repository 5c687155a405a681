/** Which changes make another result. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

import { afterEach, beforeEach, expect, test } from 'vitest';

import { loadComparison } from './definition.ts';
import { jobsOf } from './jobs.ts';
import { tinyModel } from '../testing/oracle.ts';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'visurf-jobs-'));
  for (const name of ['train', 'moved', 'held']) write(`${name}.jsonl`, '{}\n');
  write('reward.ts', plugin(1));
});
afterEach(() => rmSync(folder, { recursive: true }));

const write = (name: string, text: string): void => writeFileSync(path.join(folder, name), text);
const plugin = (weight: number): string =>
  `import { defineReward } from "visurf";\nexport default defineReward({ name: 'r', weight: ${weight}, score: () => 1 });\n`;

/** Hashes of the baseline and of a run. */
async function hashes(changes: readonly string[] = [], comparison = ''): Promise<[string, string]> {
  write(
    'config.yaml',
    `model: ${tinyModel}\noutput: run\nsteps: 2\ndata: { train: train.jsonl }\nplugins: reward.ts\n`,
  );
  write(
    'comparison.yaml',
    `config: config.yaml\noutput: out\ndata: { held: held.jsonl }\nruns: { visurf: {} }\n${comparison}`,
  );
  const jobs = await jobsOf(loadComparison(path.join(folder, 'comparison.yaml'), changes));
  return [jobs[0]!.hash, jobs[1]!.hash];
}

test('a setting of questions makes other results of the baseline, too; one of the training does not', async () => {
  const [baseline, run] = await hashes();
  expect(await hashes(['optimizer.learningRate=1.0e-6', 'threads=1', `data.train=${folder}/moved.jsonl`])).toEqual([baseline, run]); // prettier-ignore
  for (const change of ['data.prompt="{Question}?"', 'data.maxPixels=3136', 'task.boxError=3', 'eval.maxNewTokens=9']) {
    const [otherBaseline, otherRun] = await hashes([change]);
    expect([otherBaseline === baseline, otherRun === run]).toEqual([false, false]);
  }
  const [sameBaseline, otherRun] = await hashes(['optimizer.learningRate=1.0e-5']);
  expect([sameBaseline === baseline, otherRun === run]).toEqual([true, false]);
  expect((await hashes([], 'maxNewTokens: 9\n'))[0]).toBe((await hashes(['eval.maxNewTokens=9']))[0]);
});

test('files count by what they hold: data, and plugins', async () => {
  const before = await hashes();
  write('reward.ts', plugin(2));
  const other = await hashes();
  expect(other[0]).not.toBe(before[0]);
  expect(other[1]).not.toBe(before[1]);
  write('reward.ts', plugin(1));
  expect(await hashes()).toEqual(before);
  write('train.jsonl', '{"id": 1}\n');
  expect((await hashes())[1]).not.toBe(before[1]);
});
