import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { train } from './apart.ts';
import { parseConfig } from './config/load.ts';
import { fixtures, tinyModel } from './testing/oracle.ts';
import type { TrainEvent } from './training/types.ts';

test('a training in a thread is the same training, can be stopped, and leaves the event loop free', async () => {
  const folder = mkdtempSync(path.join(tmpdir(), 'visurf-apart-'));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  const image = path.join(fixtures, 'images/small-40x40.png');
  const row = { id: 'a', image, problem: 'the red circle', solution: [{ bbox_2d: [1, 2, 30, 31] }] };
  writeFileSync(path.join(folder, 'train.jsonl'), `${JSON.stringify(row)}\n`);
  const config = (output: string, steps: number) =>
    parseConfig({
      ...{ model: tinyModel, output: path.join(folder, output), steps, promptsPerStep: 1 },
      data: { train: path.join(folder, 'train.jsonl'), allowOutside: true },
      rollout: { group: 2, maxNewTokens: 4 },
    });
  const before = performance.eventLoopUtilization();
  const events: TrainEvent[] = [];
  await train(config('there', 3), { worker: true, onEvent: (event) => events.push(event) });
  const { utilization } = performance.eventLoopUtilization(before);
  await train(config('here', 3));
  const losses = (name: string): unknown[] =>
    readFileSync(path.join(folder, name, 'events.jsonl'), 'utf8')
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as { type: string; metrics?: { loss: number } })
      .flatMap(({ type, metrics }) => (type === 'step' ? [metrics!.loss] : []));
  expect(losses('there')).toEqual(losses('here'));
  expect(events.filter(({ kind }) => kind === 'step')).toHaveLength(3);
  // As a share, which is the same beside other work: what computes here takes nearly all of it.
  expect(utilization).toBeLessThan(0.5);

  const stop = new AbortController();
  const onEvent = ({ kind }: TrainEvent): void => {
    if (kind === 'step') stop.abort();
  };
  const { interrupted, steps } = await train(config('stopped', 500), { worker: true, signal: stop.signal, onEvent });
  expect([interrupted, steps < 500]).toEqual([true, true]);
  await expect(train(config('here', 3), { worker: true })).rejects.toMatchObject({ name: 'UserError' });
});
