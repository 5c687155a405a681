/** Training, evaluation and the checks, on a few samples of a tiny random model. */

import { copyFileSync, existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { fixtures, interruptAt, temporaryFolder, tinyModel, visurf, visurfJson } from './cli.ts';

function makeRun(): string {
  const folder = temporaryFolder();
  copyFileSync(join(fixtures, 'images/small-40x40.png'), join(folder, 'a.png'));
  const sample = (id: string, solution: unknown) => JSON.stringify({ id, image: 'a.png', problem: id, solution });
  const lines = [sample('circle', [{ bbox_2d: [1, 2, 30, 31] }]), sample('square', [])];
  writeFileSync(join(folder, 'data.jsonl'), lines.join('\n'));
  writeFileSync(
    join(folder, 'config.yaml'),
    `model: ${tinyModel}\noutput: run\nsteps: 2\npromptsPerStep: 2\ndata: { train: data.jsonl, validation: data.jsonl }\n` +
      'rollout: { group: 2, maxNewTokens: 6 }\neval: { every: 2 }\ncheckpoint: { every: 1 }\n',
  );
  return folder;
}

test('a run holds what its JSON says, and its checkpoint answers', async () => {
  const folder = makeRun();
  const config = join(folder, 'config.yaml');
  const result = await visurfJson<{ run: string; steps: number; metrics: Record<string, number> }>('train', config);
  expect(result).toEqual({ run: join(folder, 'run'), steps: 2, metrics: expect.objectContaining({ nAcc: 0 }) });
  const events = readFileSync(join(folder, 'run/events.jsonl'), 'utf8').trim().split('\n');
  expect(events.length).toBeGreaterThanOrEqual(3);
  expect(existsSync(join(folder, 'run/config.yaml'))).toBe(true);

  const best = join(folder, 'run/best');
  const answered = await visurfJson<{ stop: string }>(
    ...['generate', '--model', best, '--prompt', 'red', '--max-new-tokens', '4'],
  );
  expect(['eos', 'length']).toContain(answered.stop);
});

test('a run goes on to the numbers of one that was not stopped', async () => {
  const [whole, parts] = [makeRun(), makeRun()];
  await visurfJson('train', join(whole, 'config.yaml'));
  await visurfJson('train', join(parts, 'config.yaml'), 'steps=1', 'eval.every=0');
  await visurfJson('train', join(parts, 'config.yaml'), '--resume');
  const lossOf = (folder: string) =>
    readFileSync(join(folder, 'run/groups', '000002.jsonl'), 'utf8').replaceAll(folder, '');
  expect(lossOf(parts)).toBe(lossOf(whole));
});

test('eval gives metrics, and a file with an answer to every sample', async () => {
  const folder = makeRun();
  const output = join(folder, 'answers.jsonl');
  const result = await visurfJson<{ metrics: Record<string, number>; n: number; perSample: string }>(
    ...['eval', '--model', tinyModel, '--data', join(folder, 'data.jsonl')],
    ...['--max-new-tokens', '4', '--output', output],
  );
  expect(Object.keys(result).sort()).toEqual(['metrics', 'n', 'perSample']);
  expect(result).toMatchObject({ n: 2, perSample: output, metrics: { gIoU: 0 } });
  expect(readFileSync(output, 'utf8').trim().split('\n')).toHaveLength(2);
});

test('data check counts, reward check compares', async () => {
  const data = join(makeRun(), 'data.jsonl');
  expect(await visurfJson('data', 'check', data)).toEqual({ n: 2, images: 1, tasks: { grounding: 2 } });
  expect(await visurfJson('reward', 'check', data, '--model', tinyModel)).toEqual({ n: 2, losing: [] });
});

test('text goes to standard output, progress to standard error', async () => {
  const { code, stdout, stderr } = await visurf('train', join(makeRun(), 'config.yaml'), 'steps=1', 'eval.every=0');
  expect(code).toBe(0);
  expect(stdout).toContain('the run is in');
  expect(stderr).toContain('1/1');
});

test('Ctrl-C stops at a checkpoint, and says how to go on', async () => {
  const folder = makeRun();
  const config = join(folder, 'config.yaml');
  const stopped = await interruptAt('training', 'train', config, 'steps=100000', 'eval.every=0');
  expect(stopped.code).toBe(130);
  const steps = Number(/^(\d+) steps; the run is in/m.exec(stopped.stdout)?.[1]);
  expect(stopped.stderr).toContain(`visurf train ${config} steps=100000 eval.every=0 --resume`);
  const resumed = await visurfJson<{ steps: number }>(
    ...['train', config, `steps=${steps + 1}`, 'eval.every=0', '--resume'],
  );
  expect(resumed.steps).toBe(steps + 1);
});
