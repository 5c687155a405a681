/** One number from every command: `train`, `eval`, `compare`, of a run and of what `merge` and `export` make of it. */

import { cpSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { evaluate, loadConfig } from '@visurf/core';
import { generateSuite } from '@visurf/mini';
import { expect, test } from 'vitest';
import { root, temporaryFolder, visurf, visurfJson } from './cli.ts';
import { linesOf } from './training.ts';

type Metrics = Readonly<Record<string, number>>;

const BASE = join(root, 'recipes/mini/base');

const plugin = `
import { defineReward } from "visurf";
const score = ({ text }, { problem }) => text.length / problem.length;
export default defineReward({ name: 'long', weight: 0.3, score });`;

const config = `
model: ${BASE}
output: run
data:
  train: data/train.jsonl
  validation: held.jsonl
  task: answer
plugins: [reward.ts]
task: { match: relaxed, weights: { thinking: 0.25 } }
tasks: { grounding: { iouThreshold: 0.05 } }
thinking: whenCorrect
steps: 1
promptsPerStep: 8
rollout: { group: 2, maxNewTokens: 32 }
optimizer: { learningRate: 1.0e-4 }
eval: { every: 1, maxNewTokens: 24 }
`;

/** Keys that say how questions are put: all tasks then have other numbers. */
const asked = (folder: string): Record<string, string | number> => ({
  'data.prompt': join(folder, 'prompt.txt'),
  'data.system': 'find blue',
  'data.maxPixels': 9408,
  'optimizer.learningRate': 0.003,
});

/** The same without a configuration; that thoughts count beside right answers alone is no option. */
const flags = (folder: string): string[] => [
  ...['--task', 'answer', '--task', 'match=relaxed', '--task', 'weights.thinking=0.25'],
  ...['--task', 'grounding.iouThreshold=0.05', '--task', 'grounding.points=false'],
  ...['--prompt', join(folder, 'prompt.txt'), '--system', 'find blue', '--max-pixels', '9408'],
  ...['--max-new-tokens', '24', '--plugin', join(folder, 'reward.ts')],
];

const comparison = (folder: string): string =>
  'config: config.yaml\noutput: compared\ndata: { held: held.jsonl }\n' +
  'runs: { all: { paradigm: visurf }, adapter: ' +
  `${JSON.stringify({ paradigm: 'visurf', 'train.lora.rank': 4, ...asked(folder) })} }\nreference: all\n`;

/** Samples that all are held out, some without a task of their own; what they show is not quite the true answer. */
async function makeData(folder: string): Promise<void> {
  await generateSuite(join(folder, 'data'), { seed: 1, pictures: { train: 2, validation: 2, test: 0 } });
  const lines = ['validation', 'skills-validation'].flatMap((name) =>
    readFileSync(join(folder, `data/${name}.jsonl`), 'utf8')
      .trim()
      .split('\n'),
  );
  const held = lines.map((line) => {
    const { task, solution, image, ...sample } = JSON.parse(line) as Record<string, unknown>;
    const own = { ...sample, image: `data/${image as string}` };
    if (sample['set'] === 'color') return { ...own, solution };
    if (sample['set'] === 'reading') return { ...own, solution: String(1.04 * Number(solution)) };
    return { ...own, task, solution };
  });
  writeFileSync(join(folder, 'held.jsonl'), linesOf(held));
  writeFileSync(join(folder, 'prompt.txt'), 'find {Question}\n');
  writeFileSync(join(folder, 'reward.ts'), plugin);
  writeFileSync(join(folder, 'config.yaml'), config);
  writeFileSync(join(folder, 'comparison.yaml'), comparison(folder));
}

test('training, eval, compare and the library say one number, of full weights, adapters, merged and exported', async () => {
  const folder = temporaryFolder();
  process.env.XDG_STATE_HOME = join(folder, 'state');
  await makeData(folder);
  const at = (name: string): string => join(folder, name);
  const trained = async (run: string, ...changes: string[]): Promise<Metrics> =>
    (await visurfJson<{ metrics: Metrics }>('train', at('config.yaml'), `output=${at(run)}`, ...changes)).metrics;
  const evaluated = async (model: string, ...options: string[]): Promise<Metrics> => {
    const output = ['--output', at('answers.jsonl')];
    const args = ['eval', '--model', at(model), '--data', at('held.jsonl'), ...output, ...options];
    return (await visurfJson<{ metrics: Metrics }>(...args)).metrics;
  };
  const written = (command: string, model: string, output: string): Promise<unknown> =>
    visurfJson(command, '--model', at(model), '--output', at(output));
  const all = await trained('all');
  const changes = Object.entries(asked(folder)).map(([key, value]) => `${key}=${value}`);
  const adapter = await trained('adapter', 'train.lora.rank=4', ...changes);
  expect(all).toMatchObject({ 'reading.accuracy': 100 });
  expect(await evaluated('all', '--task', 'match=exact')).toMatchObject({ 'reading.accuracy': 0 });
  for (const [run, metrics] of Object.entries({ all, adapter })) {
    const base = { model: BASE, data: at('held.jsonl'), output: at('answers.jsonl') };
    expect((await evaluate({ ...base, config: loadConfig(at(`${run}/config.yaml`)) })).metrics).not.toEqual(metrics);
  }
  expect(adapter['relational.gIoU']).not.toBe(all['relational.gIoU']);

  expect(await evaluated('all')).toEqual(all);
  expect(await evaluated('all', '--config', at('config.yaml'))).toEqual(all);
  expect(await evaluated('adapter')).toEqual(adapter);
  await written('export', 'all', 'exported');
  expect(await evaluated('exported')).toEqual(all);
  await written('export', 'adapter', 'exported-adapter');
  expect(await evaluated('exported-adapter')).toEqual(adapter);
  await written('merge', 'adapter', 'merged');
  // W + B A is rounded once more than W x + B A x; none of these answers hangs on that.
  expect(await evaluated('merged')).toEqual(adapter);
  const said = { model: at('merged'), data: at('held.jsonl'), output: at('answers.jsonl') };
  expect((await evaluate(said)).metrics).toEqual(adapter);

  cpSync(BASE, at('bare'), { recursive: true });
  cpSync(at('all/checkpoints/000001/model.safetensors'), at('bare/model.safetensors'));
  expect(await evaluated('bare', '--config', at('config.yaml'))).toEqual(all);
  const usual = await visurfJson<{ metrics: Metrics }>('train', at('config.yaml'), `output=${at('usual')}`, 'thinking=always', ...changes); // prettier-ignore
  cpSync(at('usual/checkpoints/000001/model.safetensors'), at('bare/model.safetensors'));
  expect(await evaluated('bare', ...flags(folder))).toEqual(usual.metrics);

  const table = await visurfJson<{ values: Record<string, Record<string, { mean: number }>> }>('compare', at('comparison.yaml')); // prettier-ignore
  for (const [run, metrics] of Object.entries({ all, adapter })) {
    const columns = Object.entries(table.values[run]!).filter(([name]) => name.startsWith('held.'));
    const shown = columns.map(([name, { mean }]) => [name.slice('held.'.length), mean] as const);
    expect(shown.length).toBeGreaterThan(8);
    expect(metrics).toMatchObject(Object.fromEntries(shown));
  }
  const { code, stderr } = await visurf('eval', '--model', at('bare'), '--data', at('held.jsonl'));
  expect([code, stderr]).toEqual([2, expect.stringContaining('color')]);
});
