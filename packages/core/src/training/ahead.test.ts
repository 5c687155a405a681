import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

import { afterEach, beforeEach, expect, test } from 'vitest';

import { parseConfig } from '../config/load.ts';
import type { Config } from '../config/schema.ts';
import { readEvents, type StepEvent } from '../run/events.ts';
import { ModelServer } from '../testing/model-server.ts';
import { fixtures, tinyModel } from '../testing/oracle.ts';
import { train } from '../train.ts';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'visurf-ahead-'));
  const lines = [0, 1, 2, 3, 4].map((i) => ({
    ...{ id: `s${i}`, image: path.join(fixtures, 'images', 'small-40x40.png'), problem: `the red circle ${i}` },
    solution: [{ bbox_2d: [2, 3, 20 + i, 30] }],
  }));
  writeFileSync(path.join(folder, 'train.jsonl'), lines.map((line) => `${JSON.stringify(line)}\n`).join(''));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const configOf = (output: string, rollout: object = {}): Config =>
  parseConfig({
    ...{ model: tinyModel, output: path.join(folder, output), steps: 5, promptsPerStep: 2 },
    data: { train: path.join(folder, 'train.jsonl'), allowOutside: true, prompt: 'find {Question}' },
    rollout: { group: 3, maxNewTokens: 8, ahead: 1, ...rollout },
    ...{ optimizer: { learningRate: 1e-2 }, train: { lora: { rank: 2 } }, checkpoint: { every: 2 } },
    record: { tokens: 'all', images: 'none' },
  });

const stepsOf = (output: string): StepEvent[] =>
  readEvents(path.join(folder, output, 'events.jsonl')).filter((event) => event.type === 'step');
const groupsOf = (output: string): string[] => {
  const directory = path.join(folder, output, 'groups');
  return readdirSync(directory).sort().map((file) => readFileSync(path.join(directory, file), 'utf8')); // prettier-ignore
};
const metricsOf = (output: string): unknown[] => stepsOf(output).map(({ step, metrics }) => [step, metrics]);

/** A run that is killed after some steps: it ends without another checkpoint, and goes on from the last. */
async function killedAfter(step: number, config: Config): Promise<void> {
  const killed = new Error('killed');
  const onEvent: NonNullable<Parameters<typeof train>[1]>['onEvent'] = (event) => {
    if (event.kind === 'step' && event.step === step) throw killed;
  };
  await expect(train(config, { onEvent })).rejects.toThrow('killed');
  await train(config, { resume: true });
}

test('rollouts of a step come from the weights before the last update', async () => {
  await train(configOf('run'));
  const [first, ...others] = stepsOf('run').map(({ metrics }) => metrics['mismatch'] ?? NaN);
  expect(first).toBeLessThan(1e-5);
  for (const mismatch of others) expect(mismatch).toBeGreaterThan(1e-3);
  // The first step has the rollouts that it would have had anyway.
  await train({ ...configOf('plain', { ahead: 0 }), steps: 1 });
  expect(groupsOf('plain')[0]).toBe(groupsOf('run')[0]);
});

test('a run that was killed goes on with what was sampled ahead: bit-equal', async () => {
  await train(configOf('whole'));
  await killedAfter(3, configOf('killed'));
  expect(groupsOf('killed')).toEqual(groupsOf('whole'));
  expect(metricsOf('killed')).toEqual(metricsOf('whole'));
});

test('the same with a server, which samples while the update runs', async () => {
  await using server = await ModelServer.start({ program: 'vllm', model: tinyModel });
  const served = (output: string): Config => configOf(output, { backend: 'vllm', servers: [server.url], timeout: 20 });
  await train(served('whole'));
  await killedAfter(3, served('killed'));
  expect(groupsOf('killed')).toEqual(groupsOf('whole'));
  expect(metricsOf('killed')).toEqual(metricsOf('whole'));
});

test.each([0, 1])('a sample that a step has several times gets other rollouts every time, ahead: %d', async (ahead) => {
  const config = configOf('few', { ahead, dynamicSampling: 3 });
  await train({ ...config, steps: 3, promptsPerStep: 7, paradigm: 'rlvr' });
  for (const step of groupsOf('few')) {
    const said = step.trim().split('\n').map((line) => JSON.stringify((JSON.parse(line) as { rollouts: { tokens: unknown }[] }).rollouts.map(({ tokens }) => tokens))); // prettier-ignore
    expect(said).toHaveLength(7);
    expect(new Set(said).size).toBe(7);
  }
});

test('a run that is stopped keeps what was sampled ahead', async () => {
  await train(configOf('whole'));
  const stop = new AbortController();
  const config = configOf('stopped');
  const stopped = await train(config, {
    signal: stop.signal,
    onEvent: (event) => event.kind === 'step' && event.step === 3 && stop.abort(new Error('stopped')),
  });
  expect(stopped).toMatchObject({ steps: 3, interrupted: true });
  await train(config, { resume: true });
  expect(groupsOf('stopped')).toEqual(groupsOf('whole'));
});
