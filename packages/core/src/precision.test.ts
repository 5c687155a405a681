/** In which numbers a run is kept: `precision: float64`, from the first weight to what is exported; moments in 8 bits. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

import { openSafetensors, SafetensorsFile } from '@visurf/torch';
import { afterEach, beforeEach, describe, expect, onTestFinished, test } from 'vitest';

import { parseConfig } from './config/load.ts';
import type { Config } from './config/schema.ts';
import { evaluate } from './evaluate.ts';
import { exportModel } from './export/export.ts';
import { loadModel } from './families/load.ts';
import { planMemory } from './plan/memory.ts';
import { loadPolicy } from './opened.ts';
import { readEvents, type StepEvent } from './run/events.ts';
import { fixtures, tinyModel } from './testing/oracle.ts';
import { subjectOf } from './testing/plan.ts';
import { train } from './train.ts';
import { makeOptimizer, trainable } from './update/optimizer.ts';

let folder: string;
const data = (): string => path.join(folder, 'train.jsonl');
beforeEach(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'visurf-precision-'));
  const image = path.join(fixtures, 'images', 'small-40x40.png');
  const solutions = [[], [{ bbox_2d: [2, 3, 20, 30] }], [{ bbox_2d: [4, 3, 10, 30] }], []];
  const lines = solutions.map((solution, i) => JSON.stringify({ id: `s${i}`, image, problem: 'it', solution }));
  writeFileSync(data(), lines.join('\n'));
});
afterEach(() => rmSync(folder, { recursive: true }));

const config = (output: string, changes: Record<string, unknown> = {}): Config =>
  parseConfig({
    model: tinyModel,
    output: path.join(folder, output),
    data: { train: data(), allowOutside: true, prompt: 'find {Question}' },
    precision: 'float64',
    steps: 3,
    promptsPerStep: 4,
    rollout: { group: 3, maxNewTokens: 6 },
    optimizer: { learningRate: 1e-3 },
    checkpoint: { every: 2 },
    ...changes,
  });

const losses = (output: string): number[] =>
  readEvents(path.join(folder, output, 'events.jsonl'))
    .filter((event): event is StepEvent => event.type === 'step')
    .flatMap(({ metrics }) => [metrics['loss']!, metrics['gradientNorm']!]);

const dtypesIn = (file: string): string[] => {
  using saved = new SafetensorsFile(file);
  return [...new Set(saved.names.filter((name) => !name.startsWith('step.')).map((name) => saved.dtypeOf(name)))];
};

describe.each([
  ['all weights', {}, 'model.safetensors'],
  ['an adapter', { train: { lora: { rank: 2 } } }, 'adapter_model.safetensors'],
])('%s', (_, changes, file) => {
  test('checkpoints hold float64, and a run that goes on from one has the numbers of one that was never stopped', async () => {
    await train(config('whole', changes));
    const stop = new AbortController();
    const onEvent = (event: { kind: string; step?: number }): void => {
      if (event.kind === 'step' && event.step === 2) stop.abort();
    };
    await train(config('stopped', changes), { signal: stop.signal, onEvent });
    await train(config('stopped', changes), { resume: true });
    expect(losses('stopped')).toEqual(losses('whole'));
    const directory = path.join(folder, 'whole', 'checkpoints', '000003');
    expect(dtypesIn(path.join(directory, file))).toEqual(['float64']);
    expect(dtypesIn(path.join(directory, 'optimizer.safetensors'))).toEqual(['float64']);

    const options = { data: data(), allowOutside: true, maxNewTokens: 4, precision: 'float64' as const };
    const { n } = await evaluate({ model: directory, ...options, output: path.join(folder, 'answers.jsonl') });
    expect(n).toBe(4);
    using policy = await loadPolicy(directory, { precision: 'float64' });
    expect([...new Set([...policy.model.namedParameters().values()].map(({ dtype }) => dtype))]).toEqual(['float64']);
    const exported = path.join(folder, 'exported');
    exportModel(policy, exported, { dtype: 'float64', ...(policy.peft && { merge: true }) });
    using weights = openSafetensors(exported);
    expect([...new Set(weights.names.map((name) => weights.dtypeOf(name)))]).toEqual(['float64']);
  });
});

test('8-bit moments stay so in checkpoints, and a run that goes on from one has the numbers of one that was never stopped', async () => {
  const changes = { precision: 'float32', optimizer: { learningRate: 1e-3, states: '8bit' } };
  await train(config('whole', changes));
  const stop = new AbortController();
  const onEvent = (event: { kind: string; step?: number }): void => {
    if (event.kind === 'step' && event.step === 2) stop.abort();
  };
  await train(config('stopped', changes), { signal: stop.signal, onEvent });
  await train(config('stopped', changes), { resume: true });
  expect(losses('stopped')).toEqual(losses('whole'));
  using saved = new SafetensorsFile(path.join(folder, 'whole', 'checkpoints', '000003', 'optimizer.safetensors'));
  const dtypes = saved.names.filter((name) => name.startsWith('exp_avg.')).map((name) => saved.dtypeOf(name));
  expect(new Set(dtypes)).toEqual(new Set(['float32', 'uint8']));
});

test.each([
  [{ optimizer: { states: '8bit', name: 'sgd' } }, 'sgd has no states'],
  [{ optimizer: { states: '8bit' } }, '8bit states go with float32 weights'],
])('%j is refused', (changes, message) => expect(() => config('refused', changes)).toThrow(message));

test('how a batch is cut changes what float64 rounds, no more', async () => {
  await train(config('one', { steps: 1, train: { microBatch: { prompts: 1 } } }));
  await train(config('four', { steps: 1, train: { microBatch: { prompts: 4 } } }));
  const [one, four] = [losses('one'), losses('four')];
  one.forEach((value, i) => expect(Math.abs(value / four[i]! - 1)).toBeLessThan(1e-12));
});

test('a plan knows twice the bytes', () => {
  const bytes = (precision: Config['precision']): number => {
    const subject = subjectOf({ config: { precision } });
    return planMemory(subject, 0).parts.find(({ part }) => part === 'optimiser')!.bytes;
  };
  expect(bytes('float64')).toBe(2 * bytes('float32'));
});

test('a plan knows bytes of 8-bit moments: those that an optimiser makes', () => {
  const subject = subjectOf({ config: { optimizer: { states: '8bit' } } });
  const model = loadModel(tinyModel);
  onTestFinished(() => model.dispose());
  const optimizer = makeOptimizer(trainable(model, { freezeVision: false }), subject.config.optimizer);
  const states = [...optimizer.state()].filter(([name]) => !name.startsWith('step.')).map(([, each]) => each);
  const bytes = states.reduce((sum, { numel, dtype }) => sum + numel * (dtype === 'uint8' ? 1 : 4), 0);
  optimizer.dispose();
  const planned = planMemory(subject, 0).parts.find(({ part }) => part === 'optimiser')!.bytes;
  expect(Math.abs(planned / bytes - 1)).toBeLessThan(1e-3);
});
