import { spawn } from 'node:child_process';
import {
  appendFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  realpathSync,
  renameSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { expect, test } from 'vitest';
import { parseConfig } from '../config/load.ts';
import type { Config } from '../config/schema.ts';
import { readEvents, type RunEvent } from './events.ts';
import { Run } from './run.ts';

const root = mkdtempSync(path.join(tmpdir(), 'visurf-run-'));
let made = 0;
const fresh = () => path.join(root, String(made++));

function configOf(values: object = {}): Config {
  return parseConfig({ model: 'm', output: 'o', steps: 10, data: { train: 't' }, checkpoint: { keep: 2 }, ...values });
}

/** A training whose only state is a number, so that a wrong resume shows. */
async function train(run: Run, from: number, to: number, total: number, crashAt = Infinity): Promise<number> {
  for (let step = from + 1; step <= to; step++) {
    total = (total * 31 + step) % 1_000_003;
    run.log({ type: 'step', step, metrics: { total }, seconds: {} });
    run.writeGroups(step, [{ step, id: String(total), images: [], problem: '', solution: '', rollouts: [] }]);
    if (step % 2 === 0) await save(run, step, total, crashAt);
  }
  return total;
}

async function save(run: Run, step: number, total: number, crashAt: number): Promise<void> {
  const files = {
    'model.safetensors': (file: string) => writeFileSync(file, String(total)),
    'optimizer/state': (file: string) => {
      writeFileSync(file, 'x'.repeat(step));
      if (step === crashAt) throw new Error('killed');
    },
  };
  await run.saveCheckpoint(step, { files, state: { total } }, { metric: 'total', value: total });
}

async function resume(
  directory: string,
  config = configOf(),
): Promise<{ run: Run; step: number; total: number; warnings: readonly string[] }> {
  const { run, checkpoint, warnings } = await Run.resume(directory, config, {});
  const { total } = (checkpoint?.state ?? { total: 0 }) as { total: number };
  return { run, step: checkpoint?.step ?? 0, total, warnings };
}

/** Everything a reader of the run sees, without times. */
function contents(directory: string): unknown {
  const steps = readEvents(path.join(directory, 'events.jsonl')).filter(({ type }) => type === 'step');
  const groups = readdirSync(path.join(directory, 'groups')).map((name) => [
    name,
    readFileSync(path.join(directory, 'groups', name), 'utf8'),
  ]);
  const best = existsSync(path.join(directory, 'best'))
    ? path.basename(realpathSync(path.join(directory, 'best')))
    : undefined;
  const manifest: unknown = JSON.parse(readFileSync(path.join(directory, 'checkpoints/000010/manifest.json'), 'utf8'));
  return {
    steps: steps.map((event: RunEvent) => ({ ...event, time: 0 })),
    groups,
    best,
    files: (manifest as { files: unknown }).files,
    checkpoints: readdirSync(path.join(directory, 'checkpoints'))
      .filter((name) => /^\d/.test(name))
      .sort(),
  };
}

async function uninterrupted(): Promise<unknown> {
  const directory = fresh();
  const run = Run.start(directory, configOf(), {});
  await train(run, 0, 10, 0);
  run.close();
  return contents(directory);
}

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
  expect(readdirSync(directory).sort()).toEqual(['best', 'checkpoints', 'config.yaml', 'events.jsonl', 'groups']);
  const [start] = readEvents(path.join(directory, 'events.jsonl'));
  expect(start).toMatchObject({ type: 'start', step: 0, environment: { libtorch: '2.13' } });
});

test.each([2, 4, 8, 10])('killed while checkpoint %d is written, it resumes to the same run', async (crashAt) => {
  const directory = fresh();
  const run = Run.start(directory, configOf(), {});
  await expect(train(run, 0, 10, 0, crashAt)).rejects.toThrow('killed');
  run.close();
  appendFileSync(path.join(directory, 'events.jsonl'), '{"time": 1, "type": "st');
  writeFileSync(path.join(directory, 'groups', '000009.jsonl'), '{"step"');

  const again = await resume(directory);
  expect(again.step).toBe(crashAt - 2);
  await train(again.run, again.step, 10, again.total);
  again.run.close();
  expect(contents(directory)).toEqual(await uninterrupted());
});

test('a damaged checkpoint is passed over with a warning', async () => {
  const directory = fresh();
  const run = Run.start(directory, configOf(), {});
  await train(run, 0, 6, 0);
  run.close();
  truncateSync(path.join(directory, 'checkpoints/000006/model.safetensors'), 1);
  const again = await resume(directory);
  expect(again.step).toBe(4);
  expect(again.warnings[0]).toContain(
    'checkpoint 6 is damaged and was passed over: model.safetensors has another size',
  );
  expect(readdirSync(path.join(directory, 'checkpoints'))).toContain('damaged-000006');
  await train(again.run, 4, 10, again.total);
  again.run.close();
  expect(contents(directory)).toEqual(await uninterrupted());
});

test('a damaged line of the log is named and left out', async () => {
  const directory = fresh();
  const run = Run.start(directory, configOf(), {});
  await train(run, 0, 4, 0);
  run.close();
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
  const directory = fresh();
  const run = Run.start(directory, configOf(), {});
  await train(run, 0, 4, 0);
  run.close();
  renameSync(path.join(directory, 'checkpoints'), path.join(directory, 'elsewhere'));
  const log = readFileSync(path.join(directory, 'events.jsonl'), 'utf8');
  await expect(resume(directory)).rejects.toThrow('no checkpoints any more: the logs of 4 steps would be lost');
  expect(readFileSync(path.join(directory, 'events.jsonl'), 'utf8')).toBe(log);
});

test('what a resume is refused for leaves the run as it is', async () => {
  const directory = fresh();
  const run = Run.start(directory, configOf(), {});
  await train(run, 0, 5, 0);
  run.close();
  const read = () => readFileSync(path.join(directory, 'events.jsonl'), 'utf8');
  const before = read();
  const refuse = (): never => {
    throw new Error('other data');
  };
  await expect(Run.resume(directory, configOf(), {}, refuse)).rejects.toThrow('other data');
  expect(read()).toBe(before);
  expect(existsSync(path.join(directory, 'lock'))).toBe(false);
});

test('where every checkpoint is damaged nothing is thrown away', async () => {
  const directory = fresh();
  const run = Run.start(directory, configOf(), {});
  await train(run, 0, 4, 0);
  run.close();
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
  await train(run, 0, 2, 0);
  run.close();
  const { run: again, warnings } = await Run.resume(directory, configOf(), { libtorch: '2.14' });
  again.close();
  expect(warnings).toEqual([
    'MKL_CBWR was AVX2, is unset: numbers may differ in the last bits',
    'libtorch was 2.13, is 2.14: numbers may differ in the last bits',
  ]);
});

test('a run is not started over another, nor beside files', async () => {
  const directory = fresh();
  Run.start(directory, configOf(), {}).close();
  expect(() => Run.start(directory, configOf(), {})).toThrow('there already is a run here');
  const other = fresh();
  mkdirSync(other);
  writeFileSync(path.join(other, 'photo.png'), '');
  expect(() => Run.start(other, configOf(), {})).toThrow('the directory is not empty');
  await expect(resume(other)).rejects.toThrow('there is no run to resume');
});

test('two processes cannot write the same run; a dead one does not hold it', async () => {
  const directory = fresh();
  const run = Run.start(directory, configOf(), {});
  await expect(resume(directory)).rejects.toThrow(`this run is in use by process ${process.pid}`);
  run.close();
  const host = (await import('node:os')).hostname();
  writeFileSync(path.join(directory, 'lock'), JSON.stringify({ pid: process.pid, host, born: 'earlier' }));
  (await resume(directory)).run.close();
  writeFileSync(path.join(directory, 'lock'), JSON.stringify({ pid: 1, host: 'elsewhere' }));
  await expect(resume(directory)).rejects.toThrow('in use by process 1 on elsewhere');
});

test('killed again and again at any instant, it ends as if it had never been', { timeout: 60_000 }, async () => {
  const directory = fresh();
  const script = `
    import { writeFileSync } from 'node:fs';
    import { existsSync } from 'node:fs';
    const { Run } = await import(${JSON.stringify(new URL('./run.ts', import.meta.url).href)});
    const { parseConfig } = await import(${JSON.stringify(new URL('../config/load.ts', import.meta.url).href)});
    const config = parseConfig({ model: 'm', output: 'o', steps: 10, data: { train: 't' }, checkpoint: { keep: 2 } });
    const directory = ${JSON.stringify(directory)};
    const pause = () => new Promise((resolve) => setTimeout(resolve, 4));
    let run, step = 0, total = 0;
    if (existsSync(directory + '/config.yaml')) {
      const resumed = await Run.resume(directory, config, {});
      run = resumed.run;
      if (resumed.checkpoint) ({ step, state: { total } } = resumed.checkpoint);
    } else run = Run.start(directory, config, {});
    process.send('ready');
    while (step < 10) {
      step++;
      total = (total * 31 + step) % 1_000_003;
      run.log({ type: 'step', step, metrics: { total }, seconds: {} });
      run.writeGroups(step, [{ step, id: String(total), images: [], problem: '', solution: '', rollouts: [] }]);
      await pause();
      if (step % 2 !== 0) continue;
      const files = {
        'model.safetensors': async (file) => { writeFileSync(file, String(total)); await pause(); },
        'optimizer/state': async (file) => { writeFileSync(file, 'x'.repeat(step)); await pause(); },
      };
      await run.saveCheckpoint(step, { files, state: { total } }, { metric: 'total', value: total });
    }
    run.close();
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
