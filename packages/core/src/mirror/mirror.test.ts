/** A machine that trains into a store dies at every request; it, or another one, goes on to the same end. */
import { randomUUID } from 'node:crypto';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { readCheckpoint } from '../run/checkpoint.ts';
import { configOf, contents, resume, start, STEPS, train, type Course } from '../run/testkit.ts';
import { LEASE } from '../store/lease.ts';
import { ObjectStore } from '../store/store.ts';
import { memory } from '../testing/disk.ts';
import { budget, held, random } from '../testing/reliability.ts';
import { FaultyWay, openTestStore, type Fault } from '../testing/s3.ts';
import { fetchRun } from './fetch.ts';
import { Mirror } from './mirror.ts';
import { prepare } from './prepare.ts';

const root = mkdtempSync(path.join(memory(), 'visurf-mirror-'));
const BUCKET = 'lab';
let way: FaultyWay;
let behind: Awaited<ReturnType<typeof openTestStore>>;
let store: ObjectStore;
let made = 0;

beforeAll(async () => {
  behind = await openTestStore(BUCKET);
  way = new FaultyWay(behind.url);
  process.env['AWS_ENDPOINT_URL'] = await way.start();
  process.env['AWS_ACCESS_KEY_ID'] = 'AKIAVISURFTEST';
  process.env['AWS_SECRET_ACCESS_KEY'] = 'a-secret-that-nobody-sees';
});
beforeEach(async () => {
  way.fault = undefined;
  store = await ObjectStore.open({ bucket: BUCKET, prefix: randomUUID() });
});
afterAll(() => {
  way.close();
  behind.close();
  rmSync(root, { recursive: true });
});

/** The cache of a machine that has nothing yet. */
const machine = (): string => path.join(root, String(made++), 'cars');

const quiet = { onWarning: () => undefined, onProgress: () => undefined, step: undefined };

/** From wherever the run is to a step, sent as it goes. */
async function life(directory: string, to = STEPS, warnings: string[] = []): Promise<void> {
  const isThere = existsSync(path.join(directory, 'config.yaml')) || (await store.list('config.yaml')).length > 0;
  const onWarning = (message: string): void => void warnings.push(message);
  const { lease, session } = await prepare(store, directory, { ...quiet, resume: isThere, onWarning });
  const course: Course = isThere ? await resume(directory) : start(directory);
  const mirror = new Mirror({ store, lease, directory, session, keep: configOf().checkpoint.keep });
  try {
    await mirror.sendRecords();
    const pause = async (step: number): Promise<void> => {
      if (step % 3 === 0) await mirror.sendRecords();
      // The store is slower than the run: not every checkpoint is sent.
      if (step % 5 === 0) await mirror.sendCheckpoints();
    };
    await train(course, to, { pause });
    await mirror.sendCheckpoints();
    await mirror.sendRecords(true);
    expect(mirror.unsent()).toEqual([]);
    await lease.release();
  } finally {
    course.run.close();
  }
}

/** What the store has, seen from a machine that has nothing. */
async function fetched(): Promise<{ steps: unknown; texts: unknown; files: unknown }> {
  const directory = machine();
  const steps = await fetchRun(store, directory, { checkpoints: 'best and last' });
  for (const step of steps)
    expect(await readCheckpoint(path.join(directory, 'checkpoints'), step)).toHaveProperty('state');
  const { steps: made, texts, files } = contents(directory) as { steps: unknown; texts: unknown; files: unknown };
  return { steps: made, texts, files };
}

test('a checkpoint that is written anew, as one whose evaluation was made up for, replaces that of the store', async () => {
  const directory = machine();
  await life(directory, 4);
  const { lease, session } = await prepare(store, directory, { ...quiet, resume: true });
  const { run, total } = await resume(directory);
  const mirror = new Mirror({ store, lease, directory, session, keep: configOf().checkpoint.keep });
  await mirror.sendRecords();
  await mirror.sendCheckpoints();
  const files = {
    'model.safetensors': (file: string) => writeFileSync(file, String(total)),
    'optimizer/state': (file: string) => writeFileSync(file, 'anew'),
  };
  await run.saveCheckpoint(4, { files, state: { total, evaluated: true } }, { metric: 'total', value: 1e9 });
  run.close();
  expect(mirror.unsent()).toContain('checkpoints/000004/');
  way.asked.length = 0;
  await mirror.sendCheckpoints();
  // What is as it was is not sent again.
  expect(way.asked.filter(({ key }) => key.endsWith('model.safetensors'))).toEqual([]);
  await mirror.sendRecords(true);
  expect(mirror.unsent()).toEqual([]);
  await lease.release();
  const other = machine();
  expect(await fetchRun(store, other, { checkpoints: 'best' })).toEqual([4]);
  expect(await readCheckpoint(path.join(other, 'checkpoints'), 4)).toMatchObject({ state: { evaluated: true } });
  expect((await store.read('best'))?.body.toString()).toBe('checkpoints/000004\n');
});

test('a run in a store is what it is on the disk, and no more', async () => {
  const directory = machine();
  await life(directory);
  const whole = contents(directory) as { steps: unknown; texts: unknown; files: unknown };
  expect(await fetched()).toEqual({ steps: whole.steps, texts: whole.texts, files: whole.files });
  const keys = (await store.list()).map(({ key }) => key);
  const steps = [...new Set(keys.flatMap((key) => /^checkpoints\/(\d+)/.exec(key)?.[1] ?? []))];
  expect(steps.length).toBeLessThanOrEqual(3);
  expect(keys.filter((key) => key.includes('+/') || key.includes('tmp') || key.startsWith('lock'))).toEqual([]);
  expect((await store.read('last'))?.body.toString()).toBe('checkpoints/000010\n');
  // Nothing is left to be sent by one that goes on with a run that is done.
  const before = way.asked.filter(({ method }) => method === 'PUT').length;
  await life(directory);
  const again = way.asked.filter(({ method }) => method === 'PUT').slice(before);
  expect(again.filter(({ key }) => /groups|checkpoints|images/.test(key))).toEqual([]);
});

test('what another machine sent beyond its checkpoint is removed before anything is sent, and never after', async () => {
  const directory = machine();
  await life(directory, 6);
  const beyond = 'groups/000007.jsonl';
  await store.write(beyond, 'of a machine that died');
  const { lease, session } = await prepare(store, directory, { ...quiet, resume: true });
  const mirror = new Mirror({ store, lease, directory, session, keep: 1 });
  // The run writes it anew while the store is compared.
  let removals = 0;
  way.fault = ({ method, key }) => {
    if (method !== 'DELETE' || !key.endsWith(beyond)) return undefined;
    if (removals === 0) writeFileSync(path.join(directory, beyond), 'of this machine');
    return { milliseconds: 300 * removals++ };
  };
  await Promise.all([mirror.sendRecords(), mirror.sendCheckpoints()]);
  way.fault = undefined;
  expect((await store.read(beyond))?.body.toString()).toBe('of this machine');
  expect(removals).toBe(1);
  await lease.release();
});

test('a machine that dies at any request leaves a run that goes on', { timeout: 900_000 }, async () => {
  const reference = machine();
  const before = way.asked.length;
  await life(reference);
  const whole = contents(reference) as { steps: unknown; texts: unknown; files: unknown };
  const requests = way.asked.length - before;
  const next = random(1);
  const trials = budget(12, 600);
  for (let trial = 0; trial < trials; trial++) {
    store = await ObjectStore.open({ bucket: BUCKET, prefix: randomUUID() });
    let directory = machine();
    // It may die more than once.
    const deaths = 1 + Math.floor(next() * 3);
    for (let death = 0; death < deaths; death++) {
      const at = way.asked.length + Math.floor(next() * requests);
      const isLost = next() < 0.5;
      way.fault = ({ number, method }): Fault | undefined => {
        if (number < at) return undefined;
        return number === at && isLost && method !== 'GET' ? 'lost answer' : { status: 403, code: 'Dead' };
      };
      await life(directory).catch((error: unknown) => expect(String(error)).toMatch(/Dead/));
      way.fault = undefined;
      // Another machine, which takes over when the lease has run out; or the same one.
      if (next() < 0.6) {
        directory = machine();
        await store.remove(LEASE);
      }
    }
    await life(directory);
    const { steps, texts, files } = contents(directory) as { steps: unknown; texts: unknown; files: unknown };
    expect([trial, { steps, texts, files }]).toEqual([
      trial,
      { steps: whole.steps, texts: whole.texts, files: whole.files },
    ]);
    expect([trial, await fetched()]).toEqual([trial, { steps: whole.steps, texts: whole.texts, files: whole.files }]);
    store.close();
  }
  held({
    promise: 'A run in an object store whose machine dies at any request goes on, there or elsewhere, to the same end',
    test: 'packages/core/src/mirror/mirror.test.ts',
    count: trials,
    of: 'runs',
  });
});

test('a machine that was overtaken sets its copy aside', async () => {
  const [first, second] = [machine(), machine()];
  await life(first, 4);
  await life(second, 6);
  const warnings: string[] = [];
  await life(first, STEPS, warnings);
  expect(warnings.join()).toContain('the run was trained elsewhere since');
  const kept = readdirSync(path.dirname(first)).find((name) => name.startsWith('cars.superseded'));
  expect(readFileSync(path.join(path.dirname(first), kept!, 'last/model.safetensors'), 'utf8')).not.toBe('');
  const whole = contents(first) as { steps: unknown[] };
  expect(whole.steps).toHaveLength(STEPS);
});

test('a new run takes no place that is taken, and a damaged checkpoint is passed over', async () => {
  await life(machine());
  await expect(prepare(store, machine(), { ...quiet, resume: false })).rejects.toThrow('there already is a run here');
  const warnings: string[] = [];
  const steps = (await store.list()).flatMap(({ key }) => /^checkpoints\/(\d+)\/model/.exec(key)?.[1] ?? []);
  await store.write('checkpoints/000010/model.safetensors', 'x');
  const directory = machine();
  const got = await fetchRun(store, directory, { checkpoints: 'last', onWarning: (each) => warnings.push(each) });
  expect(warnings.join()).toContain('checkpoint 10 in the store is damaged');
  expect(got).toEqual([Number(steps.at(-2))]);
  for (const step of steps) await store.write(`checkpoints/${step}/model.safetensors`, 'x');
  await expect(fetchRun(store, machine(), { checkpoints: 'last' })).rejects.toThrow(
    'no checkpoint in the store is whole',
  );
  store = await ObjectStore.open({ bucket: BUCKET, prefix: randomUUID() });
  await expect(prepare(store, machine(), { ...quiet, resume: true })).rejects.toThrow('there is no run');
  await store.write('other', 'x');
  await expect(prepare(store, machine(), { ...quiet, resume: false })).rejects.toThrow('there are other objects here');
});
