/** Training that is said by keys alone; evaluation before, after and as long as it helps. */
import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { expectRefusal, tinyModel, visurf, visurfJson } from './cli.ts';
import { eventsOf, good, linesOf, makeFolder } from './training.ts';

interface Summary {
  readonly run: string;
  readonly steps: number;
  readonly metrics: Record<string, number>;
}

const short = ['rollout.group=2', 'rollout.maxNewTokens=4', 'promptsPerStep=1'];

async function makeData(): Promise<string> {
  const folder = await makeFolder({});
  writeFileSync(join(folder, 'held.jsonl'), linesOf([{ ...good, id: 'held', problem: 'the blue square' }]));
  return folder;
}

test('data, a model and a place are enough: an epoch, evaluated before and after, with a best checkpoint', async () => {
  const folder = await makeData();
  const keys = [`data.train=${join(folder, 'train.jsonl')}`, `data.validation=${join(folder, 'held.jsonl')}`];
  const run = join(folder, 'run');
  const args = [...keys, `model=${tinyModel}`, `output=${run}`, ...short];
  expect(await visurfJson<Summary>('train', ...args)).toMatchObject({ run, steps: 1, metrics: { gIoU: 0 } });
  const events = eventsOf(run).filter(({ type }) => type === 'eval' || type === 'step');
  expect(events.map(({ type, step }) => [type, step])).toEqual([
    ['eval', 0],
    ['step', 1],
    ['eval', 1],
  ]);
  expect(existsSync(join(run, 'best/config.json'))).toBe(true);
  expect(await visurfJson<{ steps: number }>('plan', ...args, '--gflops', '100')).toMatchObject({ steps: 1 });
});

test('what keys alone do not say, and what is no configuration, is named', async () => {
  const folder = await makeData();
  const data = join(folder, 'train.jsonl');
  expectRefusal(await visurf('train', `data.train=${data}`), 'this command: missing key model');
  expectRefusal(await visurf('train', `model=${tinyModel}`, 'output=x'), 'missing key data');
  const { code, stderr } = await visurf('train', data);
  expect([code, stderr]).toEqual([2, expect.stringContaining(`data.train=${data} model=DIR`)]);
  expect((await visurf('train')).stderr).toMatch('data.train=FILE model=DIR');
});

test('training ends where evaluations do not get better, and does not go on with that', async () => {
  const folder = await makeData();
  const changes = [`data.validation=${join(folder, 'held.jsonl')}`, 'steps=9', 'eval.every=1', 'eval.patience=2'];
  const args = ['train', join(folder, 'config.yaml'), ...changes, 'optimizer.learningRate=1e-12'];
  const { code, stderr } = await visurf(...args);
  expect([code, stderr]).toEqual([0, expect.stringMatching(/^ended at step 2: no better reward in 2 evaluations/m)]);
  expect(stderr).toMatch('training did not make it better');
  expect(eventsOf(join(folder, 'run')).at(-1)).toMatchObject({ type: 'end', step: 2, reason: 'done' });
  expect(await visurfJson<Summary>(...args, '--resume')).toMatchObject({ steps: 2 });
  expect(await visurfJson<Summary>(...args, 'eval.patience=3', '--resume')).toMatchObject({ steps: 3 });
  expectRefusal(await visurf(...args, 'eval.every=0'), 'eval.patience: counts evaluations');
});
