import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

import { expect, test } from 'vitest';

import { compare } from './compare.ts';
import { loadComparison, type Comparison } from './compare/definition.ts';
import { ModelServer } from './testing/model-server.ts';
import { fixtures, tinyModel } from './testing/oracle.ts';

const config = (lora: string): string =>
  `model: ${tinyModel}\noutput: run\nsteps: 1\npromptsPerStep: 2\noptimizer: { learningRate: 1e-2 }\n` +
  `data: { train: test.jsonl, allowOutside: true, prompt: 'find {Question}' }\n` +
  `rollout: { group: 2, maxNewTokens: 6 }\n${lora}`;

const comparison =
  'config: config.yaml\noutput: out\ndata: { test: test.jsonl }\nruns: { sft: {} }\n' +
  'sampled: { answers: 2, data: [test], runs: [sft] }\n';

test('servers answer for all policies as these do themselves, given adapters of what was trained', async () => {
  const folder = mkdtempSync(path.join(tmpdir(), 'visurf-compare-'));
  const write = (name: string, text: string): void => writeFileSync(path.join(folder, name), text);
  const asked = (text: string, by?: Comparison['by']): Comparison => {
    write('comparison.yaml', text);
    return loadComparison(path.join(folder, 'comparison.yaml'), [], by);
  };
  try {
    const image = path.join(fixtures, 'images/small-40x40.png');
    const samples = ['circle', 'star'].map((id) => ({ id, image, problem: id, solution: [] }));
    write('test.jsonl', samples.map((each) => `${JSON.stringify(each)}\n`).join(''));
    write('config.yaml', config('train: { lora: { rank: 2 } }\n'));
    await using server = await ModelServer.start({ program: 'vllm', model: tinyModel });
    const by = { backend: 'vllm', servers: [server.url] } as const;

    const there = await compare(asked(comparison, by));
    expect(there.policies).toEqual(['baseline', 'sft']);
    const loads = server.asked.filter((each) => each.startsWith('/v1/load_lora_adapter'));
    // Greedy answers of the run, and its many answers.
    expect(new Set(loads).size).toBe(2);
    expect(there.passes.get('test')!.passAtK.size).toBe(2);

    // The run is there: nothing is trained again, and what servers have answered is not taken for its own answers.
    await expect(compare(asked(comparison))).rejects.toThrow(/another configuration/);
    const here = await compare(asked(`${comparison}results: here\n`));
    const answers = (results: string): unknown =>
      ['baseline', 'sft'].map((run) => {
        const file = path.join(folder, results, `${run}-seed-0.json`);
        return (JSON.parse(readFileSync(file, 'utf8')) as { answers: unknown }).answers;
      });
    expect(answers('out/results')).toEqual(answers('here'));
    expect(there.estimates.values).toEqual(here.estimates.values);

    write('config.yaml', config(''));
    expect(() => asked(comparison, by)).toThrow(/sft is a whole model/);
    const merged = `${comparison}merged: { both: { of: [sft, sft] } }\n`;
    write('config.yaml', config('train: { lora: { rank: 2 } }\n'));
    expect(() => asked(merged, by)).toThrow(/both is a whole model/);
  } finally {
    rmSync(folder, { recursive: true });
  }
});
