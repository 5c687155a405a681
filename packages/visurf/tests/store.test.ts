/** Trainings whose output is in an object store, with all that goes wrong on the way there. */

import { spawn } from 'node:child_process';
import { createHash, randomUUID } from 'node:crypto';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { FaultyWay, openTestStore } from '../../core/src/testing/s3.ts';
import { ObjectStore } from '../../core/src/store/store.ts';
import { expectRefusal, finished, root, temporaryFolder, visurf, visurfJson } from './cli.ts';
import type { Outcome } from './cli.ts';
import { eventsOf, good, makeFolder, usual } from './training.ts';

const BUCKET = 'lab';
const SECRET = 'a-secret-that-nobody-sees';
let way: FaultyWay;
let behind: Awaited<ReturnType<typeof openTestStore>>;

beforeAll(async () => {
  behind = await openTestStore(BUCKET);
  way = new FaultyWay(behind.url);
  process.env.AWS_ENDPOINT_URL = await way.start();
  process.env.AWS_ACCESS_KEY_ID = 'AKIAVISURFTEST';
  process.env.AWS_SECRET_ACCESS_KEY = SECRET;
});
afterAll(() => {
  way.close();
  behind.close();
});

/** A machine that has nothing yet. */
const machine = (): void => void (process.env.XDG_CACHE_HOME = temporaryFolder());

/** So many that a training outlasts the two seconds between two looks of who sends. */
const STEPS = 100;
const config = `${usual.replace('steps: 1', `steps: ${STEPS}`)}checkpoint: { every: 2, keep: 1 }\n`;
const lines = [good, { ...good, id: 'other', solution: [] }];

/** All that came of a run, by file. */
function result(run: string): unknown {
  const hash = (file: string): string => createHash('sha256').update(readFileSync(file)).digest('hex');
  const last = join(run, 'checkpoints', String(STEPS).padStart(6, '0'));
  return {
    steps: eventsOf(run).filter(({ type }) => type === 'step').map(({ step, metrics }) => [step, metrics]), // prettier-ignore
    groups: readdirSync(join(run, 'groups')).map((name) => [name, hash(join(run, 'groups', name))]),
    weights: readdirSync(last).filter((name) => name.endsWith('.safetensors')).map((name) => [name, hash(join(last, name))]), // prettier-ignore
  };
}

/** Kills a training as soon as it sends a checkpoint after its first. */
async function killed(args: readonly string[]): Promise<Outcome> {
  const child = spawn(join(root, 'visurf'), args, { stdio: ['ignore', 'pipe', 'pipe'] });
  let first = '';
  way.fault = ({ method, key }) => {
    const [, step] = /checkpoints\/(\d+)\/model/.exec(key) ?? [];
    if (method !== 'PUT' || step === undefined) return undefined;
    first ||= step;
    if (step !== first) child.kill('SIGKILL');
    return undefined;
  };
  const outcome = await finished(child);
  way.fault = undefined;
  return outcome;
}

test('killed while it sends, it goes on elsewhere to the same bytes, whatever the network does', async () => {
  const folder = await makeFolder({ config, lines });
  const file = join(folder, 'config.yaml');
  expect((await visurf('train', file)).code).toBe(0);
  const whole = result(join(folder, 'run'));
  const output = `s3://${BUCKET}/runs/${randomUUID()}`;
  const args = ['train', file, `output=${output}`];

  machine();
  expect((await killed(args)).code).toBeNull();
  // Another machine; the lease of the first is seen to be one that may still live.
  machine();
  expectRefusal(await visurf(...args, '--resume'), /in use by process \d+ on .*\n.*free in \d+ s/s);
  const store = await ObjectStore.open({ bucket: BUCKET, prefix: output.slice(`s3://${BUCKET}/`.length) });
  const keys = (await store.list()).map(({ key }) => key);
  expect(keys.filter((key) => key.endsWith('manifest.json'))).toHaveLength(1);
  expect(keys.filter((key) => key.endsWith('state.json')).length).toBeGreaterThan(0);
  await store.remove('lease.json');
  let count = 0;
  const faults = [{ status: 503, code: 'SlowDown' }, 'cut', undefined, { milliseconds: 200 }, 'lost answer', undefined] as const; // prettier-ignore
  way.fault = ({ method }) => (method === 'GET' && count < 4 ? undefined : faults[count++ % faults.length]);
  const resumed = await visurf(...args, '--resume');
  way.fault = undefined;
  expect([resumed.code, resumed.stderr]).toEqual([0, expect.any(String)]);
  expect(resumed.stdout).toContain(`the run is in ${output}`);
  expect(resumed.stdout + resumed.stderr).not.toContain(SECRET);

  machine();
  const copy = join(temporaryFolder(), 'cars');
  expect(await visurfJson('fetch', output, '--output', copy)).toEqual({ run: copy, checkpoints: [STEPS] });
  expect(result(copy)).toEqual(whole);
  // What only reads takes the address.
  const { n } = await visurfJson<{ n: number }>(
    ...['eval', '--model', output, '--data', join(folder, 'train.jsonl'), '--output', join(folder, 'answers.jsonl')],
  );
  expect(n).toBe(2);
  expectRefusal(await visurf(...args), 'there already is a run here', '--resume');
});

test('a store that refuses stops no training: exit code 3 says that something is missing, and a resume sends it', async () => {
  const folder = await makeFolder({ config, lines });
  const output = `s3://${BUCKET}/runs/${randomUUID()}`;
  const args = ['train', join(folder, 'config.yaml'), `output=${output}`];
  machine();
  way.fault = ({ method, key }) =>
    method === 'PUT' && /groups|checkpoints/.test(key) ? { status: 403, code: 'AccessDenied' } : undefined;
  const { code, stderr } = await visurf(...args);
  way.fault = undefined;
  expect([code, stderr]).toEqual([3, expect.stringContaining(`not sent to ${output}: `)]);
  expect(stderr).toContain('takes nothing (AccessDenied, status 403): training goes on');
  expect(stderr).toMatch(/To send the rest: .*--resume/);
  expect((await visurf(...args, '--resume')).code).toBe(0);
  const copy = join(temporaryFolder(), 'cars');
  await visurfJson('fetch', output, '--output', copy);
  expect(result(copy)).toHaveProperty('steps.length', STEPS);
});

test('what cannot be begun says why before the first step, and makes no run', async () => {
  const folder = await makeFolder({ config, lines });
  const at = (output: string): string[] => ['train', join(folder, 'config.yaml'), `output=${output}`];
  machine();
  expectRefusal(await visurf(...at('s3://lab')), 's3://lab: names a bucket, and no place in it');
  expectRefusal(await visurf(...at('s3://nowhere/cars')), 's3://nowhere/cars: there is no such bucket');
  expectRefusal(await visurf(...at(`s3://${BUCKET}/none`), '--resume'), 'there is no run');
  expectRefusal(await visurf('fetch', `s3://${BUCKET}/none`, '--output', join(folder, 'x')), 'there is no run');
  const before = process.env.AWS_ENDPOINT_URL;
  process.env.AWS_ENDPOINT_URL = 'http://127.0.0.1:9';
  expectRefusal(await visurf(...at(`s3://${BUCKET}/cars`)), /cannot be reached at 127.0.0.1:9 \(ECONNREFUSED\)/);
  process.env.AWS_ENDPOINT_URL = before;
  expect(existsSync(join(folder, 'run'))).toBe(false);
});

test('several processes: who does not send waits for the store, however slow, and not for what is sent last', async () => {
  machine();
  const short = 'distributed: { timeout: 3 }\n';
  const file = join(await makeFolder({ config: usual + short, lines }), 'config.yaml');
  const args = ['train', file, `output=s3://${BUCKET}/runs/${randomUUID()}`, '--processes', '2'];
  // The first look, and what is sent last.
  way.fault = ({ method, key }) =>
    (method === 'PUT' && key.endsWith('lease.json')) || key.includes('000001/model')
      ? { milliseconds: 5000 }
      : undefined;
  const { code, stderr } = await visurf(...args);
  way.fault = undefined;
  expect([code, stderr]).toEqual([0, expect.not.stringContaining('error:')]);
  expect(way.asked.filter(({ method, key }) => method === 'PUT' && key.endsWith('000001/manifest.json'))).not.toEqual(
    [],
  );
  // The first process is refused, and the others say nothing else.
  const again = await visurf(...args, '--json');
  expectRefusal(again, 'there already is a run here');
});
