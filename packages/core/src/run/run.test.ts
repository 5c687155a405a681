import { execFileSync, spawn } from 'node:child_process';
import {
  appendFileSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  realpathSync,
  renameSync,
  rmSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { expect, test } from 'vitest';
import { readEvents } from './events.ts';
import { isLock } from '../disk/lock.ts';
import { FailingDisk } from '../testing/disk.ts';
import { Run } from './run.ts';
import { configOf, contents, resume, start, STEPS, train } from './testkit.ts';

const root = mkdtempSync(path.join(tmpdir(), 'visurf-run-'));
let made = 0;
const fresh = () => path.join(root, String(made++));

/** The directory of a run of so many steps that has ended. */
async function trained(steps: number): Promise<string> {
  const directory = fresh();
  const course = start(directory);
  await train(course, steps);
  course.run.close();
  return directory;
}

const uninterrupted = async (): Promise<unknown> => contents(await trained(STEPS));

test('a run keeps the last checkpoints and the best one', async () => {
  const directory = fresh();
  const run = Run.start(directory, configOf(), { libtorch: '2.13' });
  for (const [step, value] of [1, 5, 2, 3].entries()) {
    await run.saveCheckpoint(step + 1, { files: {}, state: null }, { metric: 'gIoU', value });
  }
  run.close();
  expect(readdirSync(path.join(directory, 'checkpoints')).sort()).toEqual(['000002', '000003', '000004']);
  expect(path.basename(realpathSync(path.join(directory, 'best')))).toBe('000002');
  expect(run.best).toEqual({ step: 2, metric: 'gIoU', value: 5 });
  expect(readdirSync(directory).sort()).toEqual([
    'best',
    'checkpoints',
    'config.yaml',
    'events.jsonl',
    'groups',
    'last',
  ]);
  const [start] = readEvents(path.join(directory, 'events.jsonl'));
  expect(start).toMatchObject({ type: 'start', step: 0, environment: { libtorch: '2.13' } });
});

test('a damaged checkpoint is passed over with a warning', async () => {
  const directory = await trained(6);
  truncateSync(path.join(directory, 'checkpoints/000006/model.safetensors'), 1);
  const again = await resume(directory);
  expect(again.step).toBe(4);
  expect(again.warnings[0]).toContain(
    'checkpoint 6 is damaged and was passed over: model.safetensors has another size',
  );
  expect(readdirSync(path.join(directory, 'checkpoints'))).toContain('damaged-000006');
  await train(again, STEPS);
  again.run.close();
  expect(contents(directory)).toEqual(await uninterrupted());
});

test.each(['config.yaml', 'events.jsonl', 'samples.jsonl', 'groups/000006.jsonl'])(
  'a pipe in place of %s is refused, not waited for',
  async (name) => {
    const directory = fresh();
    const course = start(directory);
    await train(course, 6);
    course.run.close();
    rmSync(path.join(directory, name));
    execFileSync('mkfifo', [path.join(directory, name)]);
    const before = readdirSync(directory, { recursive: true });
    await expect(Run.resume(directory, configOf(), {}, { from: 4 })).rejects.toThrow(/is not a file but a pipe/);
    // What was begun of a branch is removed when the next is kept.
    expect(readdirSync(directory, { recursive: true }).filter((each) => !String(each).startsWith('branches'))).toEqual(
      before,
    );
  },
);

test('a claim that is a pipe is nobody', async () => {
  const directory = await trained(4);
  const claim = path.join(directory, 'lock.pipe');
  execFileSync('mkfifo', [claim]);
  utimesSync(claim, 0, 0);
  const again = await resume(directory);
  again.run.close();
  expect(again.step).toBe(4);
});

test('a damaged line of the log is named and left out', async () => {
  const directory = await trained(4);
  const log = path.join(directory, 'events.jsonl');
  const lines = readFileSync(log, 'utf8').split('\n');
  // As long as it was: a disk that forgets leaves zeros.
  writeFileSync(log, lines.with(2, '\0'.repeat(lines[2]!.length)).join('\n'));
  const damages: string[] = [];
  expect(readEvents(log, (message) => damages.push(message))).toHaveLength(lines.length - 2);
  expect(damages).toEqual(['events.jsonl:3 is damaged, and left out']);
  const again = await resume(directory);
  expect(again.step).toBe(4);
  expect(again.warnings).toContain('events.jsonl:3 is damaged, and left out');
  again.run.close();
});

test('a run whose checkpoints are gone is not begun anew', async () => {
  const directory = await trained(4);
  renameSync(path.join(directory, 'checkpoints'), path.join(directory, 'elsewhere'));
  const log = readFileSync(path.join(directory, 'events.jsonl'), 'utf8');
  await expect(resume(directory)).rejects.toThrow('no checkpoints any more: the logs of 4 steps would be lost');
  expect(readFileSync(path.join(directory, 'events.jsonl'), 'utf8')).toBe(log);
});

test('what a resume is refused for leaves the run as it is', async () => {
  const directory = await trained(5);
  const read = () => readFileSync(path.join(directory, 'events.jsonl'), 'utf8');
  const before = read();
  const refuse = (): never => {
    throw new Error('other data');
  };
  await expect(Run.resume(directory, configOf(), {}, { check: refuse })).rejects.toThrow('other data');
  expect(read()).toBe(before);
  expect(readdirSync(directory).filter(isLock)).toEqual([]);
});

test('where every checkpoint is damaged nothing is thrown away', async () => {
  const directory = await trained(4);
  for (const step of ['000002', '000004']) {
    const file = path.join(directory, 'checkpoints', step, 'model.safetensors');
    writeFileSync(file, 'z'.repeat(readFileSync(file).length));
  }
  await expect(resume(directory)).rejects.toThrow('no checkpoint is whole');
  expect(readdirSync(path.join(directory, 'checkpoints'))).toHaveLength(2);
});

test('resuming asks for the same configuration, but lets a run grow longer', async () => {
  const directory = fresh();
  Run.start(directory, configOf(), {}).close();
  await expect(resume(directory, configOf({ seed: 3 }))).rejects.toThrow('differs from that of the run in: seed');
  await expect(resume(directory, configOf({ seed: 3, train: { lora: {} } }))).rejects.toThrow(
    'does not fit another train.lora.alpha, train.lora.rank, train.lora.rsLora, train.lora.vision:',
  );
  const { run } = await resume(directory, configOf({ steps: 20 }));
  run.close();
  expect(readFileSync(path.join(directory, 'config.yaml'), 'utf8')).toContain('steps: 20');
});

test('resuming elsewhere warns', async () => {
  const directory = fresh();
  const run = Run.start(directory, configOf(), { libtorch: '2.13', MKL_CBWR: 'AVX2' });
  const course = { run, step: 0, total: 0, warnings: [] };
  await train(course, 2);
  course.run.close();
  const { run: again, warnings } = await Run.resume(directory, configOf(), { libtorch: '2.14' });
  again.close();
  expect(warnings).toEqual([
    'MKL_CBWR was AVX2, is unset: numbers may differ in the last bits',
    'libtorch was 2.13, is 2.14: numbers may differ in the last bits',
  ]);
});

test('a run is not started over another, nor beside files', async () => {
  const directory = fresh();
  const run = Run.start(directory, configOf(), {});
  expect(() => Run.start(directory, configOf(), {})).toThrow('in use');
  run.close();
  // It was stopped in its first step.
  Run.start(directory, configOf(), {}).close();
  mkdirSync(path.join(directory, 'groups'), { recursive: true });
  writeFileSync(path.join(directory, 'groups/000001.jsonl'), '{}\n');
  expect(() => Run.start(directory, configOf(), {})).toThrow('there already is a run here, of 1 steps');
  const other = fresh();
  mkdirSync(other);
  writeFileSync(path.join(other, 'photo.png'), '');
  expect(() => Run.start(other, configOf(), {})).toThrow('the directory is not empty');
  await expect(resume(other)).rejects.toThrow('there is no run to resume');
});

test('a config.yaml of its user is no run, and stays as it is', async () => {
  const directory = fresh();
  mkdirSync(directory);
  const own = { 'config.yaml': '# what I have tried\nmodel: m\n', 'draft.tmp': 'mine' };
  for (const [name, text] of Object.entries(own)) writeFileSync(path.join(directory, name), text);
  expect(() => Run.start(directory, configOf(), {})).toThrow('the directory is not empty');
  await expect(resume(directory)).rejects.toThrow('there is no run to resume');
  for (const [name, text] of Object.entries(own)) expect(readFileSync(path.join(directory, name), 'utf8')).toBe(text);
  expect(readdirSync(directory).sort()).toEqual(Object.keys(own));
});

test('a run of very many steps is not started over', () => {
  const directory = fresh();
  Run.start(directory, configOf(), {}).close();
  const steps = Array.from({ length: 140_000 }, (_, i) => ({ ...{ time: 1, step: i + 1 }, type: 'end' }));
  appendFileSync(path.join(directory, 'events.jsonl'), steps.map((each) => `${JSON.stringify(each)}\n`).join(''));
  expect(() => Run.start(directory, configOf(), {})).toThrow('there already is a run here, of 140000 steps');
});

test('logs that are larger than a text may be are read, but for lines that are none', () => {
  const log = path.join(root, 'large.jsonl');
  const line = `${JSON.stringify({ time: 1, step: 1, type: 'end', reason: 'done' })}\n`;
  writeFileSync(log, line);
  // Zeros, which take no place.
  truncateSync(log, 513 << 20);
  appendFileSync(log, `\n${line}{"half`);
  const damages: string[] = [];
  expect(readEvents(log, (message) => damages.push(message))).toHaveLength(2);
  expect(damages).toEqual(['large.jsonl:2 is damaged, and left out']);
});

test('a process whose run was taken over writes nothing of it any more', () => {
  const directory = fresh();
  const { run } = start(directory);
  run.writeGroups(1, []);
  const before = readdirSync(directory, { recursive: true });
  rmSync(path.join(directory, readdirSync(directory).find(isLock)!));
  const events = readFileSync(path.join(directory, 'events.jsonl'), 'utf8');
  const taken = 'another process has taken this run over';
  expect(() => run.log({ type: 'end', step: 1, reason: 'failed' })).toThrow(taken);
  expect(() => run.writeGroups(2, [])).toThrow(taken);
  run.close();
  expect(readFileSync(path.join(directory, 'events.jsonl'), 'utf8')).toBe(events);
  expect(readdirSync(directory, { recursive: true })).toEqual(before.filter((name) => !isLock(String(name))));
});

test('of logs that were copied before the checkpoint is said that they lack lines, and none is torn', async () => {
  const directory = await trained(4);
  const log = path.join(directory, 'events.jsonl');
  const whole = readFileSync(log, 'utf8').split('\n');
  writeFileSync(log, `${whole.slice(0, 3).join('\n')}\n${whole[3]!.slice(0, 10)}`);
  rmSync(path.join(directory, 'samples.jsonl'));
  const again = await resume(directory);
  again.run.close();
  expect(again.step).toBe(4);
  expect(again.warnings).toEqual([
    expect.stringMatching(
      /^events\.jsonl has \d+ bytes, and had \d+ at step 4: what it said last is not there any more$/,
    ),
    expect.stringMatching(/^samples\.jsonl has 0 bytes, and had \d+ at step 4/),
  ]);
  const damages: string[] = [];
  const kept = readEvents(log, (message) => damages.push(message));
  expect([kept.length, kept.at(-1)?.type, damages]).toEqual([4, 'resume', []]);
});

test('a run that went on from its only checkpoint, and has lost it, is not begun anew', async () => {
  const directory = await trained(2);
  // What the log says of the checkpoint comes after it, and is cut off.
  (await resume(directory)).run.close();
  rmSync(path.join(directory, 'checkpoints'), { recursive: true });
  await expect(resume(directory)).rejects.toThrow('no checkpoints any more: the logs of 2 steps would be lost');
});

test('runs of one name that fill the disk at once are both saved elsewhere', async () => {
  const saved: string[] = [];
  for (const value of ['a', 'b']) {
    const directory = path.join(fresh(), 'run');
    const { run } = start(directory);
    const full = new FailingDisk(directory, { at: 1, half: false, isFull: true });
    const files = { 'model.safetensors': (file: string) => writeFileSync(file, value) };
    const save = async (): Promise<void> => {
      await run.saveCheckpoint(2, { files, state: null });
    };
    await expect(full.run(save)).rejects.toThrow(
      expect.objectContaining({
        message: expect.toSatisfy((message: string) => {
          saved.push(/It was saved as (\S+)\. /.exec(message)?.[1] ?? '');
          return message.includes('no space left');
        }) as string,
      }),
    );
    run.close();
  }
  expect(saved.map((each) => readFileSync(path.join(each, 'model.safetensors'), 'utf8'))).toEqual(['a', 'b']);
  for (const each of saved) rmSync(path.dirname(each), { recursive: true });
});

test('killed again and again at any instant, it ends as if it had never been', { timeout: 300_000 }, async () => {
  const directory = fresh();
  const script = `
    const { startOrResume, train, STEPS } = await import(${JSON.stringify(new URL('./testkit.ts', import.meta.url).href)});
    const pause = () => new Promise((resolve) => setTimeout(resolve, 4));
    const course = await startOrResume(${JSON.stringify(directory)});
    process.send('ready');
    await train(course, STEPS, { pause });
    course.run.close();
    process.disconnect();
  `;
  let finished = false;
  for (let attempt = 0; !finished && attempt < 40; attempt++) {
    const child = spawn(process.execPath, ['--input-type=module', '-e', script], {
      stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
    });
    const ended = new Promise<number | null>((resolve) => child.on('exit', resolve));
    child.on('message', () => setTimeout(() => child.kill('SIGKILL'), 5 + attempt * 6));
    const code = await ended;
    expect(code === null || code === 0).toBe(true);
    finished = code === 0;
  }
  expect(finished).toBe(true);
  expect(contents(directory)).toEqual(await uninterrupted());
});
