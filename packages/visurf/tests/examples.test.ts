/** The programs of examples/, as a user runs them. */

import { spawn, spawnSync } from 'node:child_process';
import { appendFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { BASE_MODEL, generateDataset } from '@visurf/mini-grounding';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { root } from './cli.ts';

const examples = join(root, 'examples');
const folder = mkdtempSync(join(tmpdir(), 'visurf-examples-'));
const picture = join(folder, 'data/images/train-00000.png');
afterAll(() => rmSync(folder, { recursive: true }));

function run(name: string, ...args: readonly string[]): string {
  const { status, stdout, stderr } = spawnSync(process.execPath, [join(examples, name), ...args], { encoding: 'utf8' });
  expect(status, stderr).toBe(0);
  return stdout;
}

beforeAll(async () => {
  await generateDataset(join(folder, 'data'), { seed: 3, images: { train: 4, validation: 0, test: 0 } });
  const row = { id: 'count', image: 'images/train-00000.png', problem: 'circles', solution: '2', task: 'count' };
  appendFileSync(join(folder, 'data/train.jsonl'), `${JSON.stringify(row)}\n`);
  const config =
    `model: ${BASE_MODEL}\noutput: run\nplugins: [${examples}/reward.ts, ${examples}/task.ts]\n` +
    'steps: 1\npromptsPerStep: 9\ndata: { train: data/train.jsonl }\nrollout: { group: 2, maxNewTokens: 40 }\n';
  writeFileSync(join(folder, 'config.yaml'), config);
}, 60_000);

test('train, with a reward and a task; predict; a route of Express', async () => {
  const { run: directory, metrics } = JSON.parse(run('train.ts', join(folder, 'config.yaml'))) as {
    run: string;
    metrics: Record<string, number>;
  };
  expect(metrics['reward.brevity']).toBeGreaterThan(0);
  expect(readFileSync(join(directory, 'samples.jsonl'), 'utf8')).toContain('"task":"count"');

  const lines = run('predict.ts', directory, 'red circle', picture, picture).trim().split('\n');
  const [first, second] = lines.map((line) => JSON.parse(line) as { boxes: number[][] });
  expect(second).toEqual(first);

  const server = spawn(process.execPath, [join(examples, 'express.ts'), directory, '0']);
  try {
    const url = await new Promise<string>((resolve, reject) => {
      server.stdout.once('data', (chunk: Buffer) => resolve(chunk.toString().trim()));
      server.once('close', () => reject(new Error('the server ended')));
    });
    const ask = (body: Buffer) =>
      fetch(`${url}/boxes?problem=red+circle`, {
        method: 'POST',
        body: new Uint8Array(body),
        headers: { 'content-type': 'image/png' },
      });
    const answer = await ask(readFileSync(picture));
    expect(await answer.json()).toEqual({ boxes: first!.boxes });
    expect((await ask(Buffer.from('no picture'))).status).toBe(400);
    expect((await fetch(`${url}/health`)).status).toBe(200);
  } finally {
    server.kill();
  }
}, 120_000);
