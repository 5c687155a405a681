import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { parseModelConfig, QwenVL } from '@visurf/core/internals';
import { saveSafetensors } from '@visurf/torch';
import { afterAll, beforeAll, expect, test } from 'vitest';

import { MINIATURE, modelConfig, writeCheckpointFiles } from './checkpoint.ts';
import { demo, type DemoEvent, type DemoResult } from './demo.ts';
import type { Size } from './plan.ts';
import { initialize } from './pretrain/initialize.ts';
import { NUMBER_IDS } from './vocabulary.ts';

const folder = mkdtempSync(path.join(tmpdir(), 'demo-'));
const base = path.join(folder, 'base');
afterAll(() => rmSync(folder, { recursive: true }));
beforeAll(() => {
  writeCheckpointFiles(base);
  const model = new QwenVL(parseModelConfig(modelConfig(MINIATURE)));
  initialize(model, 1, NUMBER_IDS);
  saveSafetensors(path.join(base, 'model.safetensors'), model.namedParameters());
  model.dispose();
});

const SIZE: Size = {
  images: { train: 4, validation: 1, test: 2 },
  changes: ['steps=2', 'optimizer.warmupSteps=1', 'promptsPerStep=2', 'rollout.group=2', 'rollout.maxNewTokens=6'],
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

test('a demo measures three policies and reports; stopped again and again it comes to the same', async () => {
  const whole = await run('whole');
  expect(whole.interrupted).toBe(false);
  expect(whole.rows.map(({ name }) => name)).toEqual(['base', 'RLVR', 'ViSurf']);
  expect(Object.keys(whole.rows[0]!.metrics)).toEqual(
    expect.arrayContaining(['gIoU', 'presentIoU', 'nAcc', 'falseEmpty', 'thinking', 'malformed']),
  );
  const report = readFileSync(whole.report, 'utf8');
  for (const text of ['RLVR', 'ViSurf', 'N-Acc', 'data:image/png']) expect(report).toContain(text);
  const stages = [...new Set(whole.events.map(({ stage }) => stage))];
  expect(stages).toEqual(['data', 'evaluate base', 'train RLVR', 'evaluate RLVR', 'train ViSurf', 'evaluate ViSurf']);
  expect(whole.events.at(-1)?.etaSeconds).toBeCloseTo(0);

  for (const [i, stop] of ['evaluate base 2', 'train RLVR 1', 'train ViSurf 2'].entries()) {
    const stopped = await run('stopped', stop, i > 0);
    expect(stopped.interrupted).toBe(true);
    expect(existsSync(stopped.report)).toBe(false);
  }
  const resumed = await run('stopped', undefined, true);
  expect(resumed.interrupted).toBe(false);
  expect(resumed.rows).toEqual(whole.rows);
  for (const file of ['base', 'rlvr', 'visurf']) {
    const answers = (name: string) => readFileSync(path.join(folder, name, 'eval', `${file}.jsonl`), 'utf8');
    expect(answers('stopped')).toBe(answers('whole'));
  }
  expect(new Set(resumed.events.map(({ stage }) => stage))).toEqual(new Set(['evaluate ViSurf']));
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
