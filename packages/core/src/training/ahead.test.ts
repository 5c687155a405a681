import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

import { afterEach, beforeEach, expect, test } from 'vitest';

import { parseConfig } from '../config/load.ts';
import type { Config } from '../config/schema.ts';
import { readEvents, type StepEvent } from '../run/events.ts';
import { ModelServer } from '../testing/model-server.ts';
import { fixtures, tinyModel } from '../testing/oracle.ts';
import { train, type TrainOptions } from '../train.ts';
import type { SavedAhead } from './ahead.ts';

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

test('a server that fails while it samples ahead takes no step along: all are saved, and the run goes on', async () => {
  await using server = await ModelServer.start({ program: 'vllm', model: tinyModel });
  const rollout = { backend: 'vllm', servers: [server.url], timeout: 20 };
  const config = { ...configOf('run', rollout), steps: 3, checkpoint: { every: 50, keep: 2 } };
  // Rollouts of the first step are judged: those of the second come next.
  const onEvent: TrainOptions['onEvent'] = (event) => {
    if (event.kind === 'progress' && event.phase === 'update') server.faults.refuse = { status: 400, times: 99 };
  };
  await expect(train(config, { onEvent })).rejects.toThrow(/^step 2, .*400/);
  expect(readdirSync(path.join(folder, 'run/checkpoints'))).toContain('000001');
  delete server.faults.refuse;
  expect(await train(config, { resume: true })).toMatchObject({ steps: 3 });
  expect(stepsOf('run').map(({ step }) => step)).toEqual([1, 2, 3]);
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

test.each([
  ['of other data', (lines: string[]) => lines.toReversed(), {}],
  ['of data that are not there', (lines: string[]) => lines.slice(0, 1), {}],
  ['in other words', (lines: string[]) => lines, { data: { prompt: 'where is {Question}' } }],
  ['in larger groups', (lines: string[]) => lines, { rollout: { group: 4 } }],
] as const)('what was sampled ahead is not taken for answers to prompts %s', async (_, data, changes) => {
  const file = path.join(folder, 'train.jsonl');
  const lines = readFileSync(file, 'utf8').trim().split('\n');
  const config = { ...configOf('run'), steps: 2 };
  const stop = new AbortController();
  const onEvent: TrainOptions['onEvent'] = ({ kind }) => kind === 'step' && stop.abort(new Error('stopped'));
  await train(config, { signal: stop.signal, onEvent });
  const saved = readFileSync(path.join(folder, 'run/checkpoints/000001/state.json'), 'utf8');
  const { ahead } = JSON.parse(saved) as { ahead: Pick<SavedAhead, 'rollouts'> };
  const waiting = ahead.rollouts.flat().map(({ tokens }) => tokens.join());

  writeFileSync(file, data(lines).map((line) => `${line}\n`).join('')); // prettier-ignore
  const changed = {
    ...config,
    data: { ...config.data, ...('data' in changes && changes.data) },
    rollout: { ...config.rollout, ...('rollout' in changes && changes.rollout) },
  };
  const warned: string[] = [];
  await train(changed, {
    ...{ from: 1, changedData: true },
    onEvent: (event) => event.kind === 'warning' && warned.push(event.message),
  });
  expect(warned).toContainEqual(expect.stringContaining('it is sampled again'));
  const groups = groupsOf('run')[1]!.trim().split('\n').map((line) => JSON.parse(line) as { rollouts: { tokens: number[] }[] }); // prettier-ignore
  expect(groups.map(({ rollouts }) => rollouts.length)).toEqual([changed.rollout.group, changed.rollout.group]);
  const said = groups.flatMap(({ rollouts }) => rollouts.map(({ tokens }) => tokens.join()));
  // In larger groups the first say the same again: nothing else has changed, not even the weights by much.
  if (changed.rollout.group === config.rollout.group) expect(said.filter((each) => waiting.includes(each))).toEqual([]);
  expect(stepsOf('run')[1]!.metrics['mismatch']).toBeLessThan(1e-5);
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
