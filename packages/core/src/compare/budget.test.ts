import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, expect, test } from 'vitest';

import type { Config } from '../config/schema.ts';
import { trainingName } from '../config/sets.ts';
import { equalised, paceOf, pilotOf, withoutEpochs } from './budget.ts';
import { configOf, loadComparison, type Comparison } from './definition.ts';

const folder = mkdtempSync(path.join(tmpdir(), 'budget-'));
afterAll(() => rmSync(folder, { recursive: true }));

writeFileSync(
  path.join(folder, 'config.yaml'),
  'model: m\noutput: o\ndata: { train: t.jsonl, validation: v.jsonl }\nsteps: 100\npromptsPerStep: 8\neval: { every: 20 }\n',
);

function comparisonOf(equal: string, runs: object): Comparison {
  const file = path.join(folder, 'comparison.yaml');
  writeFileSync(file, JSON.stringify({ config: 'config.yaml', output: 'out', data: { test: 'd.jsonl' }, equal, runs }));
  return loadComparison(file);
}

const configsOf = (comparison: Comparison): Record<string, Config> =>
  Object.fromEntries(comparison.runs.map((run) => [run.name, configOf(comparison, run, 0)]));

test('as many prompts: fewer updates of more prompts, and as many evaluations', () => {
  const runs = { sft: { promptsPerStep: 16 }, rlvr: { promptsPerStep: 3 }, visurf: {} };
  const { sft, rlvr, visurf } = configsOf(equalised(comparisonOf('samples', runs)));
  expect([sft, rlvr, visurf].map((config) => config!.steps)).toEqual([50, 267, 100]);
  expect([sft, rlvr, visurf].map((config) => config!.eval.every)).toEqual([10, 53, 20]);
});

test('as much time: by the seconds of an update; what counts updates keeps its share', () => {
  const comparison = comparisonOf('time', {
    sft: {},
    'sft-then-rlvr': { sftSteps: 40 },
    progressive: { 'mix.decaySteps': 50 },
    visurf: {},
  });
  const pace = new Map(Object.entries({ sft: 1, 'sft-then-rlvr': 2.5, progressive: 10, visurf: 5 }));
  const configs = configsOf(equalised(comparison, pace));
  expect(Object.values(configs).map(({ steps }) => steps)).toEqual([500, 200, 50, 100]);
  expect(configs['sft-then-rlvr']!.sftSteps).toBe(80);
  expect(configs['progressive']!.mix.decaySteps).toBe(25);
  expect(configs['sft']!.eval.every).toBe(100);
  const plain = comparisonOf('updates', { sft: { steps: 3 } });
  expect(equalised(plain)).toBe(plain);
});

test('SFT and RLVR have one update each at least', () => {
  const comparison = comparisonOf('time', { 'sft-then-rlvr': { sftSteps: 99 }, visurf: {} });
  const stepsWith = (seconds: number): [number, number | undefined] => {
    const pace = new Map(Object.entries({ 'sft-then-rlvr': seconds, visurf: 1 }));
    const { steps, sftSteps } = configsOf(equalised(comparison, pace))['sft-then-rlvr']!;
    return [steps, sftSteps];
  };
  expect(stepsWith(20)).toEqual([5, 4]);
  expect(stepsWith(1000)).toEqual([2, 1]);
});

test('a pilot has every kind of update, and the pace is that of the whole run', () => {
  const comparison = comparisonOf('time', { 'sft-then-rlvr': { sftSteps: 80 }, interleaved: {}, visurf: {} });
  const [staged, interleaved, visurf] = comparison.runs.map((run) => {
    const pilot = configOf(comparison, pilotOf(comparison, run), 0);
    expect(pilot).toMatchObject({ steps: 6, eval: { every: 0 } });
    return (seconds: number[]) => paceOf(configOf(comparison, run, 0), pilot, seconds);
  });
  // 80 of 100 updates are SFT.
  expect(staged!([9, 1, 1, 5, 6, 7])).toBeCloseTo(0.8 * 1 + 0.2 * 6);
  expect(interleaved!([9, 6, 1, 6, 1, 6])).toBeCloseTo(3.5);
  expect(visurf!([9, 1, 2, 3, 4, 5])).toBeCloseTo(3);
});

test('epochs come to the updates that the data of a run make them, whatever is equal', async () => {
  writeFileSync(
    path.join(folder, 'epochs.yaml'),
    'model: m\noutput: o\ndata: { train: t.jsonl }\nepochs: 2\npromptsPerStep: 8\n',
  );
  const runs = { sft: { promptsPerStep: 16 }, rlvr: { 'data.train': 'other.jsonl' }, visurf: {} };
  const file = path.join(folder, 'comparison.yaml');
  const load = (equal: string, changes: object = {}): Comparison => {
    const all = { ...runs, ...changes };
    const text = { config: 'epochs.yaml', output: 'out', data: { test: 'd.jsonl' }, equal, runs: all };
    writeFileSync(file, JSON.stringify(text));
    return loadComparison(file);
  };
  const count = ({ data }: Config) => Promise.resolve(trainingName(data.train).endsWith('other.jsonl') ? 20 : 100);
  const stepsOf = (comparison: Comparison) => Object.values(configsOf(comparison)).map(({ steps }) => steps);

  expect(stepsOf(await withoutEpochs(load('updates'), count))).toEqual([13, 5, 25]);
  expect(stepsOf(equalised(await withoutEpochs(load('samples'), count)))).toEqual([13, 25, 25]);
  const pace = new Map(Object.entries({ sft: 1, rlvr: 5, visurf: 5 }));
  const timed = await withoutEpochs(load('time'), count);
  expect(stepsOf(equalised(timed, pace))).toEqual([125, 25, 25]);
  expect(configOf(timed, pilotOf(timed, timed.runs[2]!), 0).steps).toBe(6);

  const mixed = await withoutEpochs(load('updates', { short: { paradigm: 'sft', epochs: null, steps: 4 } }), count);
  expect(stepsOf(mixed).at(-1)).toBe(4);
  expect(() => load('time', { rlvr: { epochs: 1 } })).toThrow('run rlvr has epochs of its own');
});
