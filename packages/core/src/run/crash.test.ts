/** The process dies, or the machine, at every call of a run that changes a file: what is resumed ends as if nothing had been. */
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { messageOf } from '../errors.ts';
import { CHANGES, FailingDisk, memory, type Death } from '../testing/disk.ts';
import { budget, held, inTrials, random } from '../testing/reliability.ts';
import { isLock } from '../disk/lock.ts';
import { Run } from './run.ts';
import { configOf, contents, resume, start, startOrResume, STEPS, train, type Course } from './testkit.ts';

const root = mkdtempSync(path.join(memory(), 'visurf-crash-'));
afterAll(() => rmSync(root, { recursive: true }));
let made = 0;

/** A folder that will hold the run in `run`. */
function disk(): string {
  const folder = path.join(root, String(made++));
  mkdirSync(folder);
  return folder;
}

let saved = 0;
let evaluates = true;

/** From wherever the run is to its end. */
async function life(folder: string, opened: Course[] = []): Promise<void> {
  const course = await startOrResume(path.join(folder, 'run'));
  opened.push(course);
  // What was saved is not lost.
  expect(course.step).toBeGreaterThanOrEqual(saved);
  const pause = (step: number, where: string): void => {
    // The checkpoint of the step before this one was written.
    if (where === 'step' && step % 2 === 1) saved = step - 1;
  };
  await train(course, STEPS, { pause, evaluates });
  course.run.close();
}

/** The process that died is this one, whose claims would count as alive. */
function bury(folder: string): void {
  const run = path.join(folder, 'run');
  for (const name of existsSync(run) ? readdirSync(run).filter(isLock) : []) {
    const text = readFileSync(path.join(run, name), 'utf8');
    writeFileSync(path.join(run, name), text.replace(/"born":"\d+"/, '"born":"0"'));
    // A claim that was not announced, or that a power cut has emptied, is dead when it is old.
    if (!text.endsWith('}\n') || name.endsWith('.tmp')) utimesSync(path.join(run, name), 0, 0);
  }
}

/** @returns whether it died, and the calls that it made */
async function live(
  folder: string,
  death?: Death,
  hasPower = true,
): Promise<{ died: boolean; calls: number; failing: FailingDisk }> {
  const failing = new FailingDisk(folder, death, hasPower);
  const died = await failing.run(() => life(folder));
  if (died) bury(folder);
  return { died, calls: failing.calls, failing };
}

const whole: unknown[] = [];
let calls = 0;
beforeAll(async () => {
  for (evaluates of [false, true]) {
    saved = 0;
    const folder = disk();
    ({ calls } = await live(folder));
    whole.push(contents(path.join(folder, 'run')));
  }
});

async function expectWhole(folder: string, seed: unknown): Promise<void> {
  await live(folder);
  expect([seed, contents(path.join(folder, 'run'))]).toEqual([seed, whole[Number(evaluates)]]);
  rmSync(folder, { recursive: true });
}

const trial = { test: 'packages/core/src/run/crash.test.ts', of: 'crash points' };

test('a run changes files by calls that can be made to fail', () => {
  const allowed = new Set<string>([
    ...CHANGES,
    ...['accessSync', 'closeSync', 'constants', 'createReadStream', 'existsSync', 'readdirSync', 'readFileSync'],
    ...['statSync', 'lstatSync', 'fstatSync', 'realpathSync', 'readlinkSync', 'ftruncateSync'],
  ]);
  const sources = readdirSync(import.meta.dirname).filter((name) => /(?<!test|testkit)\.ts$/.test(name));
  const used = sources.flatMap((name) => {
    const text = readFileSync(path.join(import.meta.dirname, name), 'utf8');
    const named = /import \{([^}]*)\} from 'node:fs(?:\/promises)?'/.exec(text)?.[1] ?? '';
    return named.split(',').flatMap((each) => /^\s*(\w+)\s*$/.exec(each)?.[1] ?? []);
  });
  expect(used.filter((name) => !allowed.has(name))).toEqual([]);
});

test('killed at every call', { timeout: 600_000 }, async () => {
  let points = 0;
  for (evaluates of inTrials([true], [true, false])) {
    for (let at = 1; ; at += inTrials(3, 1)) {
      saved = 0;
      const folder = disk();
      const half = at % 2 === 0;
      const { died } = await live(folder, { at, half });
      if (!died) break;
      await expectWhole(folder, { at, half });
      points++;
    }
  }
  held({
    ...trial,
    promise: 'A run that is killed at any call that changes a file resumes to the same end',
    count: points,
  });
});

test(
  'killed while it writes a checkpoint anew, as one whose evaluation was made up for',
  { timeout: 600_000 },
  async () => {
    const replaced = path.join(disk(), 'run');
    const { run, ...begun } = start(replaced, configOf({ checkpoint: { keep: 1 } }));
    await train({ run, ...begun }, 2);
    run.close();
    for (let at = 1, died = true; died; at++) {
      const folder = disk();
      const directory = path.join(folder, 'run');
      cpSync(replaced, directory, { recursive: true, verbatimSymlinks: true });
      const failing = new FailingDisk(folder, { at, half: at % 2 === 0 });
      died = await failing.run(async () => {
        const { checkpoint, ...again } = await Run.resume(directory, configOf({ checkpoint: { keep: 1 } }), {});
        const files = { 'model.safetensors': (file: string) => writeFileSync(file, String(checkpoint?.step)) };
        await again.run.saveCheckpoint(2, { files, state: { total: 1 } });
        again.run.close();
      });
      if (died) bury(folder);
      const last = await resume(directory, configOf({ checkpoint: { keep: 1 } }));
      last.run.close();
      expect([at, last.step]).toEqual([at, 2]);
    }
  },
);

test('killed again and again', { timeout: 600_000 }, async () => {
  const count = budget(15, 3000);
  let points = 0;
  for (let seed = 0; seed < count; seed++) {
    const next = random(seed);
    evaluates = next() < 0.5;
    saved = 0;
    const folder = disk();
    while (next() < 0.8) {
      const { died } = await live(folder, { at: 1 + Math.floor(next() ** 2 * calls), half: next() < 0.5 });
      if (!died) break;
      points++;
    }
    await expectWhole(folder, seed);
  }
  held({
    ...trial,
    promise: 'A run that is killed again and again, while it resumes, too, resumes to the same end',
    count: points,
  });
});

test('power cuts', { timeout: 900_000 }, async () => {
  const count = budget(80, 6000);
  for (let seed = 0; seed < count; seed++) {
    const next = random(seed);
    evaluates = next() < 0.5;
    saved = 0;
    let folder = disk();
    do {
      const death = { at: 1 + Math.floor(next() * calls), half: next() < 0.5 };
      const { failing, died } = await live(folder, death, false);
      if (!died) break;
      const left = path.join(root, `left-${seed}`);
      failing.cutPower(left, seed % 5 === 0 ? () => 0 : next);
      rmSync(folder, { recursive: true });
      folder = disk();
      rmSync(folder, { recursive: true });
      renameSync(left, folder);
      bury(folder);
    } while (next() < 0.4);
    await expectWhole(folder, seed);
  }
  held({
    ...trial,
    promise: 'A power cut at any call, which takes what was not synced, loses no step that a checkpoint holds',
    count,
  });
});

test('a full disk at every call', { timeout: 900_000 }, async () => {
  evaluates = true;
  let points = 0;
  for (let at = 1; at <= calls; at += inTrials(5, 1)) {
    saved = 0;
    const folder = disk();
    const full = new FailingDisk(folder, { at, half: true, isFull: true });
    const opened: Course[] = [];
    const failure = await full.run(() => life(folder, opened)).catch((error: unknown) => error);
    if (failure === false) {
      // All was written before.
      await expectWhole(folder, at);
      continue;
    }
    for (const { run } of opened) run.close();
    expect([at, messageOf(failure)]).toEqual([at, expect.stringMatching(/ENOSPC|no space left/)]);
    const left = readdirSync(folder, { recursive: true }).filter((name) => /\.tmp$|lock\./.test(String(name)));
    expect([at, left]).toEqual([at, []]);
    for (const name of existsSync(path.join(folder, 'run/events.jsonl')) ? ['run/events.jsonl'] : [])
      expect(readFileSync(path.join(folder, name), 'utf8')).toMatch(/^(.*\}\n)*$/);
    await expectWhole(folder, at);
    points++;
  }
  held({
    ...trial,
    promise: 'A disk that is full from any call on leaves no leftovers, and the run goes on when there is room',
    count: points,
  });
});
