/** Runs that are moved, copied, changed, or lose what they stand on. */

import {
  copyFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { expectRefusal, signalAt, temporaryFolder, visurf, visurfJson } from './cli.ts';
import { copyModel, eventsOf, good, makeFolder } from './training.ts';

interface Summary {
  readonly run: string;
  readonly steps: number;
}

/** A folder with everything in it: model, data, configuration. */
const makeProject = (more = '') =>
  makeFolder({
    lines: [good, { ...good, id: 'other', solution: [] }],
    config:
      'model: model\noutput: run\nsteps: 2\npromptsPerStep: 1\ndata: { train: train.jsonl }\n' +
      `rollout: { group: 2, maxNewTokens: 4 }\ncheckpoint: { every: 1, keep: 9 }\n${more}`,
    prepare: copyModel,
  });

const train = (folder: string, ...args: string[]) => visurfJson<Summary>('train', join(folder, 'config.yaml'), ...args);

/** Groups of a step, without the places of images. */
const groupsOf = (folder: string, step: number): string =>
  readFileSync(join(folder, `run/groups/00000${step}.jsonl`), 'utf8').replaceAll(folder, '');

test('a project that was moved goes on, and so does a run that was copied without links', async () => {
  const [moved, still] = [await makeProject(), await makeProject()];
  const lora = 'train={lora: {rank: 2}}';
  await train(still, lora, 'steps=3');
  await train(moved, lora);
  const elsewhere = join(temporaryFolder(), 'elsewhere');
  renameSync(moved, elsewhere);
  mkdirSync(moved);
  expect((await train(elsewhere, lora, 'steps=3', '--resume')).steps).toBe(3);
  expect(groupsOf(elsewhere, 3)).toBe(groupsOf(still, 3));

  const copy = join(temporaryFolder(), 'copy');
  cpSync(elsewhere, copy, { recursive: true, dereference: true });
  expect((await train(copy, lora, 'steps=4', '--resume')).steps).toBe(4);
  // The configuration that the run keeps is as good as the one that it was started with.
  expect((await visurfJson<Summary>('train', join(copy, 'run/config.yaml'), 'steps=5', '--resume')).steps).toBe(5);
});

test('another base model is refused by name, unless told', async () => {
  const folder = await makeProject('train: { lora: { rank: 2 } }\n');
  await train(folder);
  const weights = join(folder, 'model/model.safetensors');
  const bytes = readFileSync(weights);
  bytes.writeFloatLE(0.123, bytes.length - 4);
  writeFileSync(weights, bytes);
  const again = ['train', join(folder, 'config.yaml'), 'steps=3', '--resume', '--json'];
  const log = readFileSync(join(folder, 'run/events.jsonl'), 'utf8');
  expectRefusal(
    await visurf(...again),
    /model: .*not what the run began with: model\.safetensors changed/,
    '--changed-data',
  );
  expect(readFileSync(join(folder, 'run/events.jsonl'), 'utf8')).toBe(log);
  expect((await train(folder, 'steps=3', '--resume', '--changed-data')).steps).toBe(3);
});

test('--from goes back, with other values, and keeps both courses', async () => {
  const folder = await makeProject();
  await train(folder, 'steps=4');
  const before = eventsOf(join(folder, 'run'));
  const third = groupsOf(folder, 3);
  const config = join(folder, 'config.yaml');
  expectRefusal(await visurf('train', config, 'steps=4', 'seed=5', '--resume', '--json'), 'differs', '--from STEP');
  expectRefusal(
    await visurf('train', config, 'steps=4', '--from', '7', '--json'),
    'no checkpoint of step 7',
    '1, 2, 3, 4',
  );
  expect((await train(folder, 'steps=4', 'seed=5', 'optimizer.learningRate=1e-5', '--from', '2')).steps).toBe(4);

  const events = eventsOf(join(folder, 'run'));
  expect(events.flatMap(({ type, step }) => (type === 'step' ? [step] : []))).toEqual([1, 2, 3, 4]);
  expect(events.find(({ type }) => type === 'resume')).toMatchObject({ step: 2, branch: 'branches/1' });
  expect(groupsOf(folder, 3)).not.toBe(third);
  const branch = join(folder, 'run/branches/1');
  expect(eventsOf(branch)).toEqual(before);
  expect(readFileSync(join(branch, 'groups/000003.jsonl'), 'utf8').replaceAll(folder, '')).toBe(third);
  expect(readdirSync(join(branch, 'checkpoints')).sort()).toEqual(['000003', '000004']);
  expect((await train(folder, 'steps=5', 'seed=5', 'optimizer.learningRate=1e-5', '--resume')).steps).toBe(5);
});

test('more steps under a rate that decays are a jump, which is said', async () => {
  const folder = await makeProject('optimizer: { decay: linear }\n');
  await train(folder);
  const { stderr } = await visurf('train', join(folder, 'config.yaml'), 'steps=3', '--resume');
  expect(stderr).toMatch(/steps was 2, is 3/);
  expect(stderr).toMatch(/the learning rate \(optimizer.decay: linear\) go(es)? by the number of steps/);
});

/** Trains for long, and takes something away after the first step. */
async function without(folder: string, gone: (folder: string) => void, ...more: string[]) {
  const args = ['train', join(folder, 'config.yaml'), 'steps=60', 'checkpoint.every=1000', ...more];
  return signalAt('learning', 'SIGCONT', args, () => {
    gone(folder);
    return Promise.resolve();
  });
}

test('a run does not need the folder of its model any more once it trains', async () => {
  const folder = await makeProject();
  const { code, stderr } = await without(
    folder,
    (each) => renameSync(join(each, 'model'), join(each, 'gone')),
    'steps=20',
  );
  expect([code, stderr]).toEqual([0, expect.stringContaining('step 20: checkpoint')]);
  expect(existsSync(join(folder, 'run/checkpoints/000020/tokenizer.json'))).toBe(true);
});

test('where a step fails the error names it, and what was done before is saved', async () => {
  const folder = await makeProject('plugins: [./mine.ts]\n');
  const reward = `let calls = 0;
    export const mine = defineReward({ name: 'mine', weight: 1, score: () => { if (++calls > 9) throw new Error('no server'); return 1; } });`;
  writeFileSync(join(folder, 'mine.ts'), `import { defineReward } from 'visurf';\n${reward}\n`);
  const { code, stderr } = await visurf('train', join(folder, 'config.yaml'), 'steps=60', 'checkpoint.every=1000');
  expect(code).toBe(2);
  expect(stderr).toMatch(/^error: step \d+, .*the reward "mine" failed: no server/m);
  const saved = Number(/^step (\d+): checkpoint/m.exec(stderr)?.[1]);
  expect(saved).toBeGreaterThan(0);
  expect(eventsOf(join(folder, 'run')).findLast(({ type }) => type === 'step')?.step).toBe(saved);
});

test('where the run itself vanishes its last step is saved elsewhere, and the message says where', async () => {
  const folder = await makeProject();
  const { code, stderr } = await without(
    folder,
    (each) => renameSync(join(each, 'run'), join(each, 'gone')),
    'steps=20',
  );
  expect(code).toBe(2);
  const place = /It was saved as (\S+)\. /.exec(stderr)?.[1] ?? '';
  expect(place.startsWith(tmpdir())).toBe(true);
  renameSync(join(folder, 'gone'), join(folder, 'run'));
  mkdirSync(join(folder, 'run/checkpoints'), { recursive: true });
  const name = place.split('/').at(-1)!;
  cpSync(place, join(folder, 'run/checkpoints', name), { recursive: true });
  rmSync(join(place, '..'), { recursive: true });
  const steps = Number(name);
  expect((await train(folder, `steps=${steps + 1}`, 'checkpoint.every=1000', '--resume')).steps).toBe(steps + 1);
});

test('a run that lost its configuration, or its steps before the first checkpoint, is not wiped', async () => {
  const folder = await makeProject();
  await train(folder);
  renameSync(join(folder, 'run/config.yaml'), join(folder, 'saved.yaml'));
  const config = join(folder, 'config.yaml');
  expectRefusal(await visurf('train', config, '--resume', '--json'), 'lost its config.yaml', 'steps 1, 2');
  expectRefusal(await visurf('train', config, '--json'), 'not empty');

  const other = await makeProject();
  await signalAt('learning', 'SIGKILL', [
    'train',
    join(other, 'config.yaml'),
    'steps=100000',
    'checkpoint.every=100000',
  ]);
  const steps = eventsOf(join(other, 'run')).filter(({ type }) => type === 'step').length;
  const { stderr } = await visurf(
    'train',
    join(other, 'config.yaml'),
    'steps=1',
    'checkpoint.every=100000',
    '--resume',
  );
  expect(stderr).toMatch(/what the run did after step 0 is kept in branches\/1/);
  expect(eventsOf(join(other, 'run/branches/1')).filter(({ type }) => type === 'step')).toHaveLength(steps);
});

test('a run says where it comes from', async () => {
  const folder = await makeProject();
  await train(folder);
  const [start] = eventsOf(join(folder, 'run'));
  expect(start).toMatchObject({ type: 'start', format: 1, processes: 1, host: expect.any(String) as string });
  expect(start?.command).toMatch(/^visurf train .*config\.yaml --json$/);
  expect(start?.weights).toMatchObject({ accuracy: expect.any(Number) as number });
});

test('a run that was packed without times goes on, and so does one whose bad rows are skipped', async () => {
  const folder = await makeProject();
  const data = join(folder, 'train.jsonl');
  const rows = readFileSync(data, 'utf8');
  writeFileSync(data, `${rows}{"id": "bad"}\n`);
  await train(folder, '--skip-bad');
  // As an archive gives back what it has no times of.
  const copy = join(temporaryFolder(), 'copy');
  cpSync(folder, copy, { recursive: true, dereference: true });
  for (const entry of readdirSync(copy, { recursive: true })) utimesSync(join(copy, String(entry)), 0, 0);
  expect((await train(copy, 'steps=3', '--resume', '--skip-bad')).steps).toBe(3);

  // The place in the data is that of two good rows; now there is one.
  writeFileSync(data, `${rows.split('\n')[0]}\n{"id": "other"}\n{"id": "bad"}\n`);
  const again = ['train', join(folder, 'config.yaml'), 'steps=5', '--resume', '--skip-bad', '--json'];
  expectRefusal(await visurf(...again), 'train.jsonl: the data is not what', '2 samples and has 1', '--changed-data');
  expect((await train(folder, ...again.slice(2, -1), '--changed-data')).steps).toBe(5);
  for (const step of [3, 4, 5]) expect(JSON.parse(groupsOf(folder, step))).toMatchObject({ id: 'good' });
});

test('where the folder of the pictures vanishes the picture is named, and what was done before is saved', async () => {
  const many = Array.from({ length: 400 }, (_, i) => ({ ...good, id: String(i), image: `pictures/${i}.png` }));
  const folder = await makeFolder({
    lines: many,
    config:
      'model: model\noutput: run\nsteps: 400\npromptsPerStep: 1\ndata: { train: train.jsonl }\n' +
      'rollout: { group: 2, maxNewTokens: 4 }\ncheckpoint: { every: 1000 }\nrecord: { images: none }\n',
    prepare: (made) => {
      copyModel(made);
      mkdirSync(join(made, 'pictures'));
      for (const { image } of many) copyFileSync(join(made, 'a.png'), join(made, image));
    },
  });
  const { code, stderr } = await signalAt('learning', 'SIGCONT', ['train', join(folder, 'config.yaml')], () => {
    renameSync(join(folder, 'pictures'), join(folder, 'gone'));
    return Promise.resolve();
  });
  expect([code, stderr]).toEqual([2, expect.stringMatching(/^error: .*pictures\/\d+\.png: image file not found/m)]);
  const saved = Number(/^step (\d+): checkpoint/m.exec(stderr)?.[1]);
  expect(eventsOf(join(folder, 'run')).findLast(({ type }) => type === 'step')?.step).toBe(saved);
  renameSync(join(folder, 'gone'), join(folder, 'pictures'));
  expect((await train(folder, `steps=${saved + 1}`, '--resume')).steps).toBe(saved + 1);
});
