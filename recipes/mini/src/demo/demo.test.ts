import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { parseModelConfig, VisionLanguageModel } from '@visurf/core/internals';
import { initialize, modelConfig, writeCheckpointFiles } from '@visurf/mini-grounding/kit';
import { saveSafetensors } from '@visurf/torch';
import { afterAll, beforeAll, expect, test } from 'vitest';

import { miniatureOf, planOf } from '../pretrain/plan.ts';
import { demo, type DemoEvent, type DemoResult } from './demo.ts';
import type { Size } from './plan.ts';

const folder = mkdtempSync(path.join(tmpdir(), 'demo-'));
const base = path.join(folder, 'base');
afterAll(() => rmSync(folder, { recursive: true }));
beforeAll(() => {
  const miniature = miniatureOf(planOf('base'));
  writeCheckpointFiles(base, miniature);
  const model = new VisionLanguageModel(parseModelConfig(modelConfig(miniature)));
  initialize(model, 1, miniature.vocabulary.numberIds);
  saveSafetensors(path.join(base, 'model.safetensors'), model.namedParameters());
  model.dispose();
});

const SIZE: Size = {
  sets: ['referring', 'sums'],
  pictures: { train: 4, validation: 1, test: 2 },
  steps: 2,
  changes: ['optimizer.warmupSteps=1', 'promptsPerStep=2', 'rollout.group=2', 'rollout.maxNewTokens=6'],
};

/** A demo that is stopped when it says that so much of a stage is done. */
async function run(name: string, stopAt?: string, resume = false): Promise<DemoResult & { events: DemoEvent[] }> {
  const controller = new AbortController();
  const events: DemoEvent[] = [];
  const onEvent = (event: DemoEvent) => {
    events.push(event);
    if (`${event.stage} ${event.done}` === stopAt) controller.abort();
  };
  const options = { quick: true, seed: 5, output: path.join(folder, name), resume, base, onEvent };
  return { ...(await demo({ ...options, signal: controller.signal }, SIZE)), events };
}

test('a demo measures five policies and reports; stopped again and again it comes to the same', async () => {
  const whole = await run('whole');
  expect(whole.interrupted).toBe(false);
  expect(whole.rows.map(({ name }) => name)).toEqual(['base', 'SFT', 'RLVR', 'SFT → RLVR', 'ViSurf']);
  expect(Object.keys(whole.rows[0]!.metrics)).toEqual(['referring', 'N-Acc', 'sums', 'average', 'skills', 'thinking']);
  const report = readFileSync(whole.report, 'utf8');
  for (const text of ['RLVR', 'ViSurf', 'N-Acc', 'data:image/png']) expect(report).toContain(text);
  const stages = [...new Set(whole.events.map(({ stage }) => stage))];
  expect(stages).toEqual([
    'data',
    ...['baseline', 'sft, seed 5', 'rlvr, seed 5', 'sft-then-rlvr, seed 5', 'visurf, seed 5'].flatMap((policy) => [
      ...(policy === 'baseline' ? [] : [`${policy}: training`]),
      ...[`${policy}: answering test`, `${policy}: answering skills`],
    ]),
  ]);
  expect(whole.events.at(-1)?.etaSeconds).toBeCloseTo(0);

  // A finished one is not deleted unless that is asked for.
  await expect(run('whole')).rejects.toThrow(/finished demo[^]*--again/);
  expect(existsSync(whole.report)).toBe(true);

  for (const [i, stop] of [
    'baseline: answering test 6',
    'rlvr, seed 5: training 1',
    'visurf, seed 5: training 2',
  ].entries()) {
    const stopped = await run('stopped', stop, i > 0);
    expect(stopped.interrupted).toBe(true);
    expect(existsSync(stopped.report)).toBe(false);
  }
  const resumed = await run('stopped', undefined, true);
  expect(resumed.interrupted).toBe(false);
  expect(resumed.rows).toEqual(whole.rows);
  for (const policy of ['baseline', 'rlvr', 'visurf']) {
    const answers = (name: string) =>
      readFileSync(path.join(folder, name, 'answers', `${policy}-seed-5`, 'test.jsonl'), 'utf8');
    expect(answers('stopped')).toBe(answers('whole'));
  }
  expect(new Set(resumed.events.map(({ stage }) => stage))).toEqual(
    new Set(['visurf, seed 5: answering test', 'visurf, seed 5: answering skills']),
  );
});

test('a directory that holds something else is refused, as is an unfinished demo', async () => {
  await run('unfinished', 'data 0');
  await expect(run('unfinished')).rejects.toThrow(/unfinished demo[^]*--resume/);
  const output = path.join(folder, 'unfinished');
  const other = { quick: false, seed: 5, output, resume: true };
  await expect(demo(other)).rejects.toThrow('started with --quick --seed 5');
  await expect(run('missing', undefined, true)).rejects.toThrow('no demo to resume');
  writeFileSync(path.join(folder, 'file'), '');
  await expect(demo({ ...other, output: folder, resume: false })).rejects.toThrow('not empty');
});
