import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { Experiment } from '../packages/core/src/question/experiment.ts';
import { scoreTerms } from '../packages/core/src/reward/reward.ts';
import { generateDataset, BASE_MODEL } from '../recipes/mini-grounding/src/index.ts';
import { loadConfig } from '../packages/core/src/config/load.ts';
import { DataCursor } from '../packages/core/src/data/cursor.ts';
import { renderRival } from './report/rival.ts';
import type { RivalRun } from './report/result.ts';
import { faults } from './rival-check.ts';
import { prepareRival } from './rival-prepare.ts';
import { readRivalWorkload, writeRivalWorkload } from './rival-workload.ts';

const folder = mkdtempSync(join(tmpdir(), 'visurf-rival-'));
afterAll(() => rmSync(folder, { recursive: true }));

const recipe = join(import.meta.dirname, '../recipes/mini-grounding/config.yaml');
const changes = [
  'steps=2',
  'promptsPerStep=4',
  'eval.every=0',
  `model=${BASE_MODEL}`,
  `data.train=${folder}/train.jsonl`,
  `data.validation=${folder}/validation.jsonl`,
];

async function prepared() {
  await generateDataset(folder, { seed: 3, images: { train: 6, validation: 1, test: 1 } });
  return prepareRival(loadConfig(recipe, changes), join(folder, 'out'));
}

test('the rival has the rows that our trainer draws, and the scorer gives the rewards that it gives', async () => {
  const { workload, samples, indices } = await prepared();
  expect(indices).toEqual(new DataCursor(12, 0).next(8));
  expect(workload.rows.map(({ sample }) => sample.id)).toEqual(indices.map((index) => samples[index]?.id));
  const file = writeRivalWorkload(join(folder, 'workload.json'), workload);
  const { rows, scorer, weights } = readRivalWorkload(file);
  const responses = rows.flatMap(({ labels }, row) =>
    Object.values(labels).flatMap((label) =>
      [label, `<think> look</think>${label}`, label.replace(/\d/, '9'), label.slice(3)].map(
        (text) => [row, text, 'eos'] as const,
      ),
    ),
  );
  expect(responses.length).toBeGreaterThan(300);
  const [program = '', ...args] = scorer;
  const answer = execFileSync(program, args, { input: `${JSON.stringify(responses)}\n`, encoding: 'utf8' });
  const scored = JSON.parse(answer) as { terms: Record<string, number>; form?: string }[];
  const own = Experiment.open({ parameters: workload.tasks }).decide(samples).scorer;
  responses.forEach(([row, text], i) => {
    const { sample, frames } = rows[row]!;
    const truth = own.task.parseTruth(sample, frames);
    expect(scored[i]!.terms).toEqual(scoreTerms(own, { text, stop: 'eos' }, { sample, frames, truth }));
    expect(scored[i]!.form).toBe(own.task.recognise(text));
  });
  expect(Object.keys(scored[0]!.terms).sort()).toEqual(Object.keys(weights).sort());
});

test('settings that the rival has no code for are refused', async () => {
  await generateDataset(folder, { seed: 3, images: { train: 6, validation: 1, test: 1 } });
  const config = loadConfig(recipe, [...changes, 'label.smooth=off']);
  await expect(prepareRival(config, folder)).rejects.toThrow('no code for');
});

test('a rival that computes something else is found out', () => {
  const same = { rewards: 0, advantagesClosedForm: 1e-6, advantagesOurs: 3e-4, gradient: 1e-4 };
  expect(faults(same)).toEqual([]);
  expect(faults({ ...same, gradient: 0.1, rewards: NaN })).toEqual([
    'rewards: NaN, more than 1e-9',
    'gradient: 0.1, more than 0.002',
  ]);
});

test('the page has a row per system and the ratios', () => {
  const metrics = { gIoU: 84, presentIoU: 70, nAcc: 98, falseEmpty: 1, thinking: 100 };
  const run = (seed: number, seconds: number): RivalRun => ({
    ...{ seed, seconds, phases: { rollouts: seconds / 4, reward: 0, update: (3 * seconds) / 4 }, metrics },
    ...{
      processSeconds: seconds,
      processorSeconds: seconds,
      peakMb: seconds,
      labelActive: 0.5,
      scored: 0.9,
      labelLeft: 0,
    },
  });
  const text = renderRival(
    {
      ...{ name: 'rival', updates: 90, threads: 2 },
      machine: { cpu: 'CPU', cores: 2, features: [], memoryGb: 8, kernel: '6', node: 'v24', load: 0 },
      checked: {
        step: { rewards: 0, advantagesClosedForm: 0, advantagesOurs: 3e-4, gradient: 1e-4 },
        resumed: { again: 0, resumed: 0.5, loaded: 0 },
      },
      systems: [
        { name: 'visurf', runs: [run(0, 10), run(1, 12)] },
        { name: 'TRL', runs: [run(0, 40), run(1, 48)] },
      ],
    },
    '2 threads on CPU',
  );
  expect(text).toContain('90 updates, seed 0, 1;');
  expect(text).toContain('| TRL | 84.0 / 84.0 | 70.0 / 70.0 | 98.0 / 98.0 | 1.0 / 1.0 | 100.0 / 100.0 | 40.0 / 48.0 |');
  expect(text).toContain('takes 4.00 times the time');
  expect(text).toContain("goes on from the base's weights");
});
