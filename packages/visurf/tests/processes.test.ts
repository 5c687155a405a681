/** Several processes that train one run: begun together, ended together, and whole whatever befalls one of them. */
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { freePort } from '@visurf/core/signals';
import { expect, test } from 'vitest';
import { budget, held, inTrials, random } from '../../core/src/testing/reliability.ts';
import { expectRefusal, root, visurf, visurfJson } from './cli.ts';
import { Command, descendants, isAlive, visurfCommand, type Ended } from './processes.ts';
import { eventsOf, good, makeFolder, usual } from './training.ts';

const STEPS = 10;
const config = `${usual.replace('steps: 1', `steps: ${STEPS}`).replace('promptsPerStep: 1', 'promptsPerStep: 2')}checkpoint: { every: 2, keep: 2 }\n`;
const lines = [good, { ...good, id: 'other', solution: [] }];
const makeRun = (more = '') => makeFolder({ config: config + more, lines });
const train = (folder: string, ...args: readonly string[]): string[] => [
  ...['train', join(folder, 'config.yaml'), '--processes', '2'],
  ...args,
];
const endless = 'steps=100000';
/** Tried by `make reliability`: each takes a while. */
const trial = test.runIf(inTrials(false, true));
/** Milliseconds in which all are to end, whatever befalls one. */
const LIMIT = 60_000;

const hash = (file: string): string => createHash('sha256').update(readFileSync(file)).digest('hex');

/** What came of a run, bit by bit. */
function result(folder: string): unknown {
  const run = join(folder, 'run');
  const last = join(run, 'checkpoints', String(STEPS).padStart(6, '0'));
  return {
    steps: eventsOf(run).filter(({ type }) => type === 'step'),
    groups: readdirSync(join(run, 'groups')).map((name) => [name, hash(join(run, 'groups', name))]),
    weights: readdirSync(last).filter((name) => name.endsWith('.safetensors')).map((name) => [name, hash(join(last, name))]), // prettier-ignore
  };
}

/** The checkpoints of a run are whole: it goes on from the last. */
async function expectToGoOn(folder: string): Promise<void> {
  const steps = Math.max(0, ...eventsOf(join(folder, 'run')).map(({ step }) => step as number)) + 1;
  const summary = await visurfJson<{ steps: number }>(...train(folder, `steps=${steps}`, '--resume'));
  expect(summary.steps).toBe(steps);
}

test('two processes: rank 0 writes the run, each has a log, and what is said on a terminal is said once', async () => {
  const folder = await makeRun();
  const { code, stdout, stderr } = await visurf(...train(folder, 'steps=3'));
  expect([code, stderr.match(/checkpoint in/g)?.length]).toEqual([0, 2]);
  expect(stdout).toContain('3 steps; the run is in');
  const [start] = eventsOf(join(folder, 'run'));
  expect(start).toMatchObject({
    type: 'start',
    processes: 2,
    command: expect.stringContaining('--processes 2') as string,
  });
  for (const rank of [0, 1]) {
    const log = readFileSync(join(folder, `run/logs/rank-${rank}.log`), 'utf8');
    expect(log).toMatch(new RegExp(`^\\S+ rank ${rank} of 2, process \\d+\n`));
    expect(log).toContain('step 3: checkpoint');
  }
});

test('half an environment, and one that makes no sense, are refused', async () => {
  const folder = await makeRun();
  const args = ['train', join(folder, 'config.yaml'), '--json'];
  const refused = (env: NodeJS.ProcessEnv) => {
    const { status, stdout, stderr } = spawnSync(join(root, 'visurf'), args, {
      env: { ...process.env, ...env },
      encoding: 'utf8',
    });
    return { code: status, stdout, stderr };
  };
  expectRefusal(
    refused({ RANK: '0', WORLD_SIZE: '2' }),
    'RANK and WORLD_SIZE are set, but MASTER_ADDR and MASTER_PORT not',
  );
  const whole = { RANK: '2', WORLD_SIZE: '2', MASTER_ADDR: 'localhost', MASTER_PORT: '1' };
  expectRefusal(refused(whole), 'RANK is "2": it is a whole number from 0 to 1');
  expectRefusal(await visurf(...args, '--processes', '2', 'data.train=gone.jsonl'), 'gone.jsonl');
  expectRefusal(await visurf(...args, '--processes', '5000'), '--processes 5000: this machine has');
  expect(existsSync(join(folder, 'run'))).toBe(false);
});

/** Ends of ranks 0 and 1 of two, which something else starts than the command: rank 1 as `other` says, once 0 is there. */
async function startApart(
  folder: string,
  other: { readonly env?: NodeJS.ProcessEnv; readonly args?: readonly string[] },
): Promise<Ended[]> {
  const port = await freePort();
  const start = (rank: string, { env = {}, args = [] }: typeof other = {}): Command =>
    visurfCommand(['train', join(folder, 'config.yaml'), ...args], {
      ...{ ...process.env, OMP_NUM_THREADS: '1', RANK: rank, WORLD_SIZE: '2' },
      ...{ MASTER_ADDR: '127.0.0.1', MASTER_PORT: String(port), ...env },
    });
  const first = start('0');
  while (first.child.exitCode === null && !(await listens(port))) await setTimeout(50);
  return await Promise.all([first.end(), start('1', other).end()]);
}

const listens = (port: number): Promise<boolean> =>
  new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1', () => {
      socket.destroy();
      resolve(true);
    });
    socket.on('error', () => resolve(false));
  });

test('a rank that never comes is named when the time is over, and before that it is said who is waited for', async () => {
  const folder = await makeRun('distributed: { timeout: 6 }\n');
  const port = String(await freePort());
  const [first, other] = await startApart(folder, { env: { MASTER_PORT: port } });
  expect([first!.code, other!.code]).toEqual([2, 2]);
  expect(first!.stderr).toMatch(/^rank 0 waits for rank 1, at 127\.0\.0\.1:\d+: 6 s at most$/m);
  expect(first!.stderr).toMatch(/^error: rank 1 has not come within 6 s\n.*MASTER_PORT/m);
  expect(other!.stderr).toContain(`rank 1 waits until rank 0 is reached at 127.0.0.1:${port}: 6 s at most`);
  expect(other!.stderr).toMatch(/^error: rank 0 is not at 127\.0\.0\.1:\d+\n.*MASTER_PORT/m);
  expect(existsSync(join(folder, 'run'))).toBe(false);
});

// Nobody waits for the timeout, which is far longer than a test may take.
test.each([
  ['another WORLD_SIZE', { env: { WORLD_SIZE: '3' } }, /rank 1 has WORLD_SIZE 3, and rank 0 has 2/],
  ['the RANK of another', { env: { RANK: '0' } }, /rank 0 is there twice/],
  ['a network that is not there', { env: { GLOO_SOCKET_IFNAME: 'none0' } }, /no network by GLOO_SOCKET_IFNAME=none0/],
  ['another configuration', { args: ['seed=5'] }, /rank 1 was not started as rank 0 was: seed is 5, and not 0/],
  ['a configuration with a mistake', { args: ['steps=three'] }, /steps: .*expected number/],
  ['a GPU that is not there', { args: ['device=cuda:7'] }, /device cuda:7: /],
])('a rank that is started with %s ends all with what is wrong', async (_, other, message) => {
  const folder = await makeRun('distributed: { timeout: 86400 }\n');
  for (const { code, stderr } of await startApart(folder, other)) {
    expect([code, stderr]).toEqual([2, expect.stringMatching(message)]);
    expect(stderr.match(/^error: /gm)).toHaveLength(1);
  }
  expect(existsSync(join(folder, 'run'))).toBe(false);
});

test('a rank that cannot start ends the others', async () => {
  const folder = await makeRun('plugins: [plugin.ts]\n');
  // The other one must be able to start: whichever fails first is what the command ends with.
  const text =
    'import { defineReward } from "visurf";\nif (process.env.RANK === "1") throw new Error("no such luck");\n' +
    'export default defineReward({ name: "none", weight: 1, score: () => 0 });\n';
  writeFileSync(join(folder, 'plugin.ts'), text);
  const { code, stderr } = await visurf(...train(folder));
  expect(code).toBeGreaterThan(0);
  expect(stderr).toMatch(/^error: rank 1 has ended: .*no such luck/m);
  expect(stderr.match(/no such luck/g)).toHaveLength(1);
});

test.each(inTrials(['SIGINT'] as const, ['SIGINT', 'SIGTERM', 'SIGHUP'] as const))(
  '%s to the command reaches all, and what was made is saved once',
  async (signal) => {
    const folder = await makeRun();
    const command = visurfCommand(train(folder, endless));
    await command.says('step 2: checkpoint');
    const ranks = descendants(command.child.pid!);
    expect(ranks).toHaveLength(2);
    await command.fault(() => command.child.kill(signal));
    const { code, stderr, took } = await command.end();
    expect([code, stderr.match(/stopped\. To go on: .*--processes 2 --resume/g)?.length]).toEqual([130, 1]);
    expect(stderr).not.toContain('error:');
    expect(took).toBeLessThan(LIMIT);
    expect(ranks.filter(isAlive)).toEqual([]);
    const events = eventsOf(join(folder, 'run'));
    const made = Math.max(...events.map(({ step }) => step as number));
    expect(events.at(-1)).toEqual({ type: 'end', step: made, reason: 'interrupted' });
    expect(existsSync(join(folder, 'run/checkpoints', String(made).padStart(6, '0')))).toBe(true);
  },
);

trial('a command that is killed leaves no rank behind', async () => {
  const folder = await makeRun();
  const command = visurfCommand(train(folder, endless));
  await command.says('step 2: checkpoint');
  const ranks = descendants(command.child.pid!);
  command.child.kill('SIGKILL');
  await expect.poll(() => ranks.filter(isAlive), { timeout: LIMIT }).toEqual([]);
  await expectToGoOn(folder);
});

trial.each([
  ['SIGKILL', 1],
  ['SIGKILL', 0],
  ['SIGSTOP', 1],
] as const)('%s of rank %i ends all, and the run goes on from its last checkpoint', async (signal, rank) => {
  const folder = await makeRun('distributed: { timeout: 10 }\n');
  const command = visurfCommand(train(folder, endless));
  await command.says('step 2: checkpoint');
  const ranks = descendants(command.child.pid!);
  await command.fault(() => process.kill(command.rank(rank)!, signal));
  const { code, stderr, took } = await command.end();
  expect([code, stderr]).toEqual([expect.toBeOneOf([1, 2]), expect.stringContaining(`rank ${rank}`)]);
  expect(stderr).toContain('To go on:');
  expect(took).toBeLessThan(LIMIT);
  expect(ranks.filter(isAlive)).toEqual([]);
  await expectToGoOn(folder);
});

// A limit on the size of files is what a full disk looks like to a process that writes.
trial('a disk that is full where the run is written ends all', async () => {
  const folder = await makeRun();
  const command = new Command('bash', ['-c', 'ulimit -f 300; exec "$@"', '-', join(root, 'visurf'), ...train(folder)]);
  const { code, stderr } = await command.end();
  expect([code, stderr]).toEqual([2, expect.stringMatching(/a file would be larger than is allowed here/)]);
  await expectToGoOn(folder);
});

test('killed again and again, a run of two processes ends with the same bits', { timeout: 7_200_000 }, async () => {
  // Where they share out most: also the masters of weights.
  const begin = () => makeRun('precision: bfloat16\n');
  const whole = await begin();
  expect((await visurf(...train(whole))).code).toBe(0);
  const kills = budget(1, 50);
  const next = random(7);
  let [folder, count, worst] = [await begin(), 0, 0];
  const expectTheSame = async (): Promise<void> => {
    expect((await visurf(...train(folder, '--continue'))).code).toBe(0);
    expect(result(folder)).toEqual(result(whole));
  };
  while (count < kills) {
    const command = visurfCommand(train(folder, '--continue'));
    await command.says('learning');
    await setTimeout(1500 * next() ** 2);
    const victim = command.rank(count % 2);
    if (victim !== undefined) await command.fault(() => process.kill(victim, 'SIGKILL'));
    const { code, stderr, took } = await command.end();
    if (code !== 0) {
      expect(stderr).toContain(`rank ${count % 2}`);
      expect(took).toBeLessThan(LIMIT);
      [count, worst] = [count + 1, Math.max(worst, took)];
    }
    // A run has only so many steps to be killed in: the next one is killed in its place.
    if (code === 0 || count % 10 === 0) {
      await expectTheSame();
      folder = await begin();
    }
  }
  await expectTheSame();
  held({
    promise: 'A run of two processes of which one is killed at any moment ends with the same bits',
    test: 'packages/visurf/tests/processes.test.ts',
    ...{ count, of: 'kills', worst },
  });
});
