/** Training, evaluation and the checks, on a few samples of a tiny random model. */

import { execFile } from 'node:child_process';
import { existsSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';
import { expectRefusal, root, signalAt, tinyModel, visurf, visurfJson } from './cli.ts';
import { eventsOf, linesOf, makeFolder } from './training.ts';

const sample = (id: string, solution: unknown) => ({ id, image: 'a.png', problem: id, solution });

const makeRun = () =>
  makeFolder({
    config:
      `model: ${tinyModel}\noutput: run\nsteps: 2\npromptsPerStep: 2\n` +
      'data: { train: data.jsonl, validation: data.jsonl }\n' +
      'rollout: { group: 2, maxNewTokens: 6 }\neval: { every: 2 }\ncheckpoint: { every: 1 }\n',
    prepare: (folder) =>
      writeFileSync(
        join(folder, 'data.jsonl'),
        linesOf([
          ...[sample('circle', [{ bbox_2d: [1, 2, 30, 31] }]), sample('square', [])],
          ...[sample('star', [{ bbox_2d: [5, 5, 20, 20] }]), sample('ring', [])],
        ]),
      ),
  });

interface Summary {
  readonly run: string;
  readonly steps: number;
  readonly metrics: Record<string, number>;
}

/** Everything that a run said, by file, without times and places. */
function record(folder: string): Record<string, unknown> {
  const groups = readdirSync(join(folder, 'run/groups')).sort();
  const texts = groups.map((name) => readFileSync(join(folder, 'run/groups', name), 'utf8').replaceAll(folder, ''));
  const steps = eventsOf(join(folder, 'run')).filter(({ type }) => type === 'step' || type === 'eval');
  return { groups, texts, steps };
}

test('a run holds what its JSON says, and its checkpoint answers', async () => {
  const folder = await makeRun();
  const config = join(folder, 'config.yaml');
  const result = await visurfJson<Summary>('train', config);
  expect(result).toEqual({ run: join(folder, 'run'), steps: 2, metrics: expect.objectContaining({ nAcc: 0 }) });
  const types = eventsOf(join(folder, 'run')).map(({ type }) => type);
  expect(types).toEqual([
    'start',
    'warning',
    'eval',
    'step',
    'checkpoint',
    'step',
    'eval',
    'checkpoint',
    'warning',
    'end',
  ]);
  expect(existsSync(join(folder, 'run/config.yaml'))).toBe(true);
  expect(await visurfJson<Summary>('train', config, '--resume')).toEqual(result);

  const best = join(folder, 'run/best');
  const answered = await visurfJson<{ stop: string }>(
    ...['generate', '--model', best, '--prompt', 'red', '--max-new-tokens', '4'],
  );
  expect(['eos', 'length']).toContain(answered.stop);
});

test('eval gives metrics, and a file with an answer to every sample', async () => {
  const folder = await makeRun();
  const output = join(folder, 'new/answers.jsonl');
  const args = ['eval', '--model', tinyModel, '--data', join(folder, 'data.jsonl'), '--max-new-tokens', '4'];
  const result = await visurfJson<Record<string, unknown>>(...args, '--task', 'grounding', '--output', output);
  expect(result).toEqual({ n: 4, perSample: output, metrics: expect.objectContaining({ gIoU: 0, malformed: 100 }) });
  const answers = readFileSync(output, 'utf8').trim().split('\n');
  expect(answers.map((line) => (JSON.parse(line) as { id: string }).id)).toEqual(['circle', 'square', 'star', 'ring']);

  expectRefusal(await visurf(...args, '--json', '--output', join(folder, 'a.png/x')), 'a.png/x', 'another output');
  expectRefusal(await visurf(...args, '--json', '--task', 'count'), 'no task named "count"', 'grounding');
});

test('data check counts, reward check compares', async () => {
  const data = join(await makeRun(), 'data.jsonl');
  expect(await visurfJson('data', 'check', data)).toEqual({ n: 4, images: 1, tasks: { grounding: 4 }, findings: [] });
  expect(await visurfJson('reward', 'check', data, '--model', tinyModel)).toEqual({ n: 4, losing: [], findings: [] });
});

test('text goes to standard output, progress to standard error', async () => {
  const config = join(await makeRun(), 'config.yaml');
  const { code, stdout, stderr } = await visurf('train', config, 'steps=1', 'eval.every=0');
  expect(code).toBe(0);
  expect(stdout).toContain('the run is in');
  expect(stderr).toContain('1/1');
});

test('Ctrl-C stops at a checkpoint, and says how to go on; a run in use is left alone', async () => {
  const folder = await makeRun();
  const config = join(folder, 'config.yaml');
  const args = ['train', config, 'steps=100000', 'eval.every=0', 'checkpoint.every=1000'];
  const stopped = await signalAt('learning', 'SIGINT', [...args, '--precision', 'float32', '--json'], async () => {
    expectRefusal(await visurf(...args, '--resume'), 'run: this run is in use by process', 'Wait for it');
  });
  expect(stopped.code).toBe(130);
  expect(stopped.stderr).toMatch(/^stopping at the next safe point; press Ctrl-C again to stop at once$/m);
  const again = /^stopped\. To go on: .*visurf (train .* --resume)$/m.exec(stopped.stderr)?.[1] ?? '';
  expect(again).toBe([...args, 'precision=float32', '--resume'].join(' '));

  const { run, steps } = JSON.parse(stopped.stdout) as Summary;
  expect(run).toBe(join(folder, 'run'));
  expect(eventsOf(run).at(-1)).toEqual({ type: 'end', step: steps, reason: 'interrupted' });
  const resumed = await visurfJson<Summary>(...again.split(' '), `steps=${steps + 1}`);
  expect(resumed.steps).toBe(steps + 1);
});

test('a signal before the first step ends the command at once, and leaves nothing', async () => {
  const folder = await makeRun();
  const args = ['train', join(folder, 'config.yaml')];
  for (const signal of ['SIGINT', 'SIGHUP', 'SIGTERM'] as const) {
    const { code, stderr } = await signalAt('checking images', signal, args);
    expect([code, existsSync(join(folder, 'run/checkpoints'))]).toEqual([130, false]);
    expect(stderr).toMatch(/^stopped\. To start again: /m);
  }
  expect((await visurfJson<Summary>(...args)).steps).toBe(2);
});

test('a run that was killed goes on to the numbers of one that was not', async () => {
  const [killed, whole] = [await makeRun(), await makeRun()];
  const args = (folder: string) => ['train', join(folder, 'config.yaml'), 'checkpoint.every=3', 'eval.every=2'];
  const outcome = await signalAt('step 3: checkpoint', 'SIGKILL', [...args(killed), 'steps=100000']);
  expect(outcome.code).toBeNull();
  const steps = Math.max(...eventsOf(join(killed, 'run')).map(({ step }) => step as number)) + 2;
  await visurfJson('train', ...args(killed).slice(1), `steps=${steps}`, '--resume');
  await visurfJson('train', ...args(whole).slice(1), `steps=${steps}`);
  expect(record(killed)).toEqual(record(whole));
});

// A limit on the size of files is what a full disk looks like to a process that writes.
test.runIf(process.platform === 'linux')('a full disk ends the run, which goes on when there is room', async () => {
  const folder = await makeRun();
  const config = join(folder, 'config.yaml');
  const limited = promisify(execFile)('bash', [
    '-c',
    'ulimit -f 300; exec "$@"',
    '-',
    join(root, 'visurf'),
    'train',
    config,
  ]);
  const { code, stderr } = await limited.then(
    () => ({ code: 0, stderr: '' }),
    (error: unknown) => error as { code: number; stderr: string },
  );
  expect(stderr).toMatch(/^error: .*run: a file would be larger than is allowed here\n.*resume the run/m);
  expect(code).toBe(2);
  const resumed = await visurfJson<Summary>('train', config, '--resume');
  expect(resumed.steps).toBe(2);
});

test('a run does not go on with other data unless told, and is left as it is', async () => {
  const folder = await makeRun();
  const [config, data, log] = ['config.yaml', 'data.jsonl', 'run/events.jsonl'].map((name) => join(folder, name)) as [
    string,
    string,
    string,
  ];
  await visurfJson('train', config);
  const before = readFileSync(log, 'utf8');
  writeFileSync(data, readFileSync(data, 'utf8') + linesOf([sample('late', [])]));
  const again = ['train', config, 'steps=3', '--resume', '--json'];
  expectRefusal(
    await visurf(...again),
    'data.jsonl: the data is not what',
    '1 samples were appended',
    '--changed-data',
  );
  expect(readFileSync(log, 'utf8')).toBe(before);
  expect((await visurfJson<Summary>(...again.slice(0, -1), '--changed-data')).steps).toBe(3);
});

test('a run holds what it asked and was answered, and no path of this machine', async () => {
  const folder = await makeRun();
  await visurfJson('train', join(folder, 'config.yaml'), 'record.tokens=all');
  const run = join(folder, 'run');
  const linesIn = (name: string): Record<string, unknown>[] =>
    readFileSync(join(run, name), 'utf8').trim().split('\n').map((line) => JSON.parse(line) as Record<string, unknown>); // prettier-ignore
  const samples = linesIn('samples.jsonl');
  expect(samples.map(({ id }) => id).sort()).toEqual(['circle', 'ring', 'square', 'star']);
  for (const { images, prompt, task } of samples) {
    const [image] = images as { path: string; width: number; height: number }[];
    expect([image!.width, image!.height, task]).toEqual([40, 40, 'grounding']);
    expect(existsSync(join(run, image!.path))).toBe(true);
    expect(prompt).toMatch(/<\|im_start\|>/);
  }
  expect(samples.find(({ id }) => id === 'circle')?.boxes).toEqual([[1, 2, 30, 31]]);
  expect(linesIn('evaluations/000002.jsonl').map(({ id }) => id)).toEqual(['circle', 'square', 'star', 'ring']);
  const [group] = linesIn('groups/000001.jsonl') as unknown as [{ rollouts: { tokens: number[]; length: number }[] }];
  for (const { tokens, length } of group.rollouts) expect(tokens).toHaveLength(length);
  expect(linesIn('events.jsonl').find(({ type }) => type === 'step')?.memory).toBeGreaterThan(1e7);
  const texts = ['events.jsonl', 'samples.jsonl', ...readdirSync(join(run, 'groups')).map((name) => `groups/${name}`)];
  for (const name of [...texts, 'evaluations/000002.jsonl']) {
    const text = readFileSync(join(run, name), 'utf8');
    expect([name, text.includes(folder), text.includes(root)]).toEqual([name, false, false]);
  }
});
