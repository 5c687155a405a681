import { fork, type ChildProcess } from 'node:child_process';
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { hostname, tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { afterAll, expect, test } from 'vitest';
import { budget, held } from '../testing/reliability.ts';
import { isLock, LEASE, lockRun, renew } from './lock.ts';

const root = mkdtempSync(path.join(tmpdir(), 'visurf-lock-'));
afterAll(() => rmSync(root, { recursive: true }));
let made = 0;
function fresh(): string {
  const directory = path.join(root, String(made++));
  mkdirSync(directory);
  return directory;
}

const locks = (directory: string): string[] => readdirSync(directory).filter(isLock);

/** The claim of another, which looks like ours but for this. */
function claim(directory: string, changes: object, age = 0): string {
  const own = lockRun(directory);
  const [name] = locks(directory);
  const text = readFileSync(path.join(directory, name!), 'utf8');
  own.release();
  const file = path.join(directory, 'lock.000000000000');
  writeFileSync(file, `${JSON.stringify({ ...(JSON.parse(text) as object), ...changes })}\n`);
  const then = Date.now() / 1000 - age / 1000;
  utimesSync(file, then, then);
  return file;
}

test('one process holds a run; when it is done another may', () => {
  const directory = fresh();
  const lock = lockRun(directory);
  expect(() => lockRun(directory)).toThrow(`this run is in use by process ${process.pid} on ${hostname()}`);
  expect(locks(directory)).toHaveLength(1);
  lock.check();
  lock.release();
  expect(locks(directory)).toEqual([]);
  lockRun(directory).release();
});

test('a dead process of this machine holds nothing, and so does an earlier one of the same number', () => {
  const directory = fresh();
  for (const dead of [{ pid: 2 ** 22 + 1 }, { born: '1' }]) {
    const left = claim(directory, { ...dead, held: 1 });
    lockRun(directory).release();
    expect(() => statSync(left)).toThrow('ENOENT');
  }
});

test('a claim of another machine, or of a container under another name, holds while it is renewed', () => {
  const directory = fresh();
  claim(directory, { host: 'elsewhere', kernel: 'another', held: 1 }, LEASE / 2);
  expect(() => lockRun(directory)).toThrow(/in use by process \d+ on elsewhere[^]*free in \d+ s/);
  const other = fresh();
  claim(other, { host: 'elsewhere', kernel: 'another', held: 1 }, LEASE + 1000);
  lockRun(other).release();
});

test('a claim that is half written holds for as long as one of another machine', () => {
  const directory = fresh();
  const file = claim(directory, {});
  writeFileSync(file, '{"pid": 1');
  expect(() => lockRun(directory)).toThrow('in use by another process');
  utimesSync(file, 0, 0);
  lockRun(directory).release();
});

test('a holder whose claim was taken for dead does not write any more', () => {
  const directory = fresh();
  const lock = lockRun(directory);
  rmSync(path.join(directory, locks(directory)[0]!));
  expect(() => lock.check()).toThrow('another process has taken this run over');
});

test('a thread renews a claim while steps go on, and leaves it whole', async () => {
  const directory = fresh();
  const file = claim(directory, {}, LEASE);
  const before = [statSync(file).mtimeMs, readFileSync(file, 'utf8')] as const;
  const thread = renew(file, 20);
  const deadline = Date.now() + 30_000;
  while (statSync(file).mtimeMs === before[0] && Date.now() < deadline) {
    // Steps do not come back to the event loop.
    for (const end = Date.now() + 50; Date.now() < end;);
    await setTimeout(1);
  }
  await thread.terminate();
  expect(statSync(file).mtimeMs).toBeGreaterThan(before[0]);
  expect(readFileSync(file, 'utf8')).toBe(before[1]);
});

test('a claim that could not be renewed for a moment is renewed again', async () => {
  const file = path.join(fresh(), 'lock.000000000000');
  // A link to itself, which nothing can be written through.
  symlinkSync(file, file);
  const thread = renew(file, 20);
  const ends: number[] = [];
  thread.once('exit', (code) => ends.push(code));
  await new Promise((resolve) => thread.once('online', resolve));
  await setTimeout(200);
  writeFileSync(`${file}.tmp`, '{}\n');
  utimesSync(`${file}.tmp`, 0, 0);
  renameSync(`${file}.tmp`, file);
  const deadline = Date.now() + 30_000;
  while (ends.length === 0 && statSync(file).mtimeMs === 0 && Date.now() < deadline) await setTimeout(5);
  expect(statSync(file).mtimeMs).toBeGreaterThan(0);
  await thread.terminate();
});

/** Tries to hold the directory when it is told to, and says when it has it; lets it go or dies when it is told to. */
const SCRIPT = `
  const { lockRun } = await import(${JSON.stringify(new URL('./lock.ts', import.meta.url).href)});
  let lock;
  process.on('message', ({ directory, at, release }) => {
    if (release) { lock?.release(); lock = undefined; return process.send('released'); }
    while (Date.now() < at);
    try { lock = lockRun(directory); process.send('held'); } catch (error) { process.send(String(error.name)); }
  });
  process.send('ready');
`;

const ROUNDS = budget(40, 1000);
const PROCESSES = 8;

test(`${ROUNDS} rounds of ${PROCESSES} processes at once: one has it, never two`, { timeout: 900_000 }, async () => {
  const script = path.join(fresh(), 'contender.mjs');
  writeFileSync(script, SCRIPT);
  const answer = (child: ChildProcess): Promise<string> =>
    new Promise((resolve) => child.once('message', (message) => resolve(message as string)));
  const begin = async (): Promise<ChildProcess> => {
    const child = fork(script, { execArgv: [] });
    await answer(child);
    return child;
  };
  const children = await Promise.all(Array.from({ length: PROCESSES }, begin));
  const directory = fresh();
  const holders: number[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    const answers = children.map(answer);
    for (const child of children) child.send({ directory, at: Date.now() + 15 });
    const all = await Promise.all(answers);
    expect(all.filter((each) => each !== 'held' && each !== 'UserError')).toEqual([]);
    holders.push(all.filter((each) => each === 'held').length);
    const holder = all.indexOf('held');
    if (round % 5 === 0 && holder >= 0) {
      // Killed: the next round finds its claim.
      const died = new Promise((resolve) => children[holder]!.once('exit', resolve));
      children[holder]!.kill('SIGKILL');
      await died;
      children[holder] = await begin();
    }
    const released = children.map(answer);
    for (const child of children) child.send({ release: true });
    await Promise.all(released);
  }
  for (const child of children) child.kill();
  expect(holders).toEqual(holders.map(() => 1));
  held({
    promise: `Of ${PROCESSES} processes that begin a run at once exactly one holds it, also where the last holder was killed`,
    test: 'packages/core/src/disk/lock.test.ts',
    count: ROUNDS,
    of: 'rounds',
  });
});
