import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

import { live } from '@visurf/torch';
import { afterEach, beforeEach, expect, test } from 'vitest';

import { parseConfig } from './config/load.ts';
import type { Config } from './config/schema.ts';
import { evaluate } from './evaluate.ts';
import { defineReward } from './reward/reward.ts';
import { readEvents, type StepEvent } from './run/events.ts';
import { FailingDisk } from './testing/disk.ts';
import { fixtures, tinyModel } from './testing/oracle.ts';
import { train } from './train.ts';
import type { TrainEvent } from './training/types.ts';

/** Nothing that the task marks counts. */
const ZERO = { thinking: 0, format: 0, accuracy: 0, nonRepeat: 0 };

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'visurf-train-'));
  const lines = ['small-40x40.png', 'flat-90x60.png'].flatMap((image, i) =>
    [0, 1, 2].map((j) => ({
      id: `s${i}${j}`,
      image: path.join(fixtures, 'images', image),
      problem: 'the red circle',
      solution: j === 0 ? [] : [{ bbox_2d: [2 + i, 3, 20 + j, 30] }],
    })),
  );
  writeFileSync(path.join(folder, 'train.jsonl'), lines.map((line) => `${JSON.stringify(line)}\n`).join(''));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const sampled = {
  rollout: { group: 3, maxNewTokens: 8 },
  objective: { aggregate: { tokens: 'sum', over: 'sequence', normalizer: 18 } },
};

const config = (output: string, overrides: Record<string, unknown> = {}): Config =>
  parseConfig({
    model: tinyModel,
    output: path.join(folder, output),
    steps: 4,
    promptsPerStep: 2,
    data: {
      train: path.join(folder, 'train.jsonl'),
      allowOutside: true,
      validation: path.join(folder, 'train.jsonl'),
      prompt: 'find {Question}',
    },
    ...(overrides['paradigm'] === 'sft' ? { rollout: { maxNewTokens: 8 } } : sampled),
    optimizer: { learningRate: 1e-3 },
    eval: { every: 2, limit: 3 },
    checkpoint: { every: 2 },
    ...overrides,
  });

const steps = (output: string): StepEvent[] =>
  readEvents(path.join(folder, output, 'events.jsonl')).filter((event) => event.type === 'step');
const losses = (output: string): unknown[] =>
  steps(output).map(({ step, metrics }) => [step, metrics.loss, metrics.gradientNorm, metrics.labelLogProb]);

test('a run explains itself, frees what it made, and its checkpoint is a model directory', async () => {
  const before = live().handles;
  const events: TrainEvent[] = [];
  const result = await train(config('run'), { onEvent: (event) => events.push(event) });
  expect(live().handles).toBe(before);
  expect(result).toMatchObject({ steps: 4, interrupted: false });
  expect(events.filter(({ kind }) => kind === 'step')).toHaveLength(4);
  const entries = [
    'best',
    'checkpoints',
    'config.yaml',
    'evaluations',
    'events.jsonl',
    'groups',
    'images',
    'last',
    'report.html',
    'samples.jsonl',
  ];
  expect(readdirSync(result.run).sort()).toEqual(entries);
  expect(steps('run')[0]?.metrics).toMatchObject({ labelActive: 1, ratio: 1, kl: 0 });
  const [group] = readFileSync(path.join(result.run, 'groups', '000001.jsonl'), 'utf8').split('\n');
  expect((JSON.parse(group ?? '') as { rollouts: unknown[] }).rollouts).toHaveLength(3);
  const evaluated = await evaluate({
    model: path.join(result.run, 'checkpoints', '000004'),
    data: path.join(folder, 'train.jsonl'),
    allowOutside: true,
    maxNewTokens: 4,
    output: path.join(folder, 'answers.jsonl'),
  });
  expect(evaluated.n).toBe(6);
  expect(evaluated.metrics.malformed).toBe(100);
  expect(existsSync(evaluated.perSample)).toBe(true);

  // A bit of a weight, which nothing else would show.
  const weights = path.join(result.run, 'checkpoints', '000004', 'model.safetensors');
  const bytes = readFileSync(weights);
  bytes[bytes.length - 1]! ^= 1;
  writeFileSync(weights, bytes);
  const damaged = evaluate({
    model: path.dirname(weights),
    data: path.join(folder, 'train.jsonl'),
    allowOutside: true,
  });
  await expect(damaged).rejects.toThrow('the checkpoint is damaged: model.safetensors has other bytes');
});

test('a run that was stopped, or killed after its checkpoint, goes on to the same numbers', async () => {
  await train(config('whole'));

  const stop = new AbortController();
  const stopped = await train(config('stopped'), {
    signal: stop.signal,
    onEvent: (event) => event.kind === 'step' && event.step === 3 && stop.abort(),
  });
  expect(stopped).toMatchObject({ steps: 3, interrupted: true });
  expect(await train(config('stopped'), { resume: true })).toMatchObject({ steps: 4, interrupted: false });
  expect(losses('stopped')).toEqual(losses('whole'));

  // Killed in step 4, with a half-written line and a checkpoint that never got its name.
  await train(config('killed', { steps: 3, optimizer: { learningRate: 1e-3 } }));
  const killed = path.join(folder, 'killed');
  rmSync(path.join(killed, 'checkpoints', '000003'), { recursive: true });
  cpSync(path.join(killed, 'checkpoints', '000002'), path.join(killed, 'checkpoints', '000003.tmp'), {
    recursive: true,
  });
  writeFileSync(
    path.join(killed, 'events.jsonl'),
    `${readFileSync(path.join(killed, 'events.jsonl'), 'utf8')}{"type":"st`,
  );
  expect(await train(config('killed'), { resume: true })).toMatchObject({ steps: 4 });
  expect(losses('killed')).toEqual(losses('whole'));
});

test('where the disk fills up, also for the log, it is said where the last step was saved', async () => {
  const death = { at: Infinity, half: false, isFull: true };
  const said: string[] = [];
  const onEvent = (event: TrainEvent): void => {
    if (event.kind === 'step' && event.step === 1) death.at = 0;
    if (event.kind === 'warning') said.push(event.message);
  };
  const options = config('full', { eval: { every: 0 }, data: { ...config('full').data, validation: undefined } });
  mkdirSync(path.join(folder, 'full'));
  const full = new FailingDisk(path.join(folder, 'full'), death);
  const life = async (): Promise<void> => {
    await train(options, { onEvent });
  };
  await expect(full.run(life)).rejects.toThrow('no space left');
  const [place] = said.flatMap((each) => /step 2 could not be saved[^]*saved as (\S+)\. /.exec(each)?.[1] ?? []);
  expect(readdirSync(place ?? '')).toContain('model.safetensors');
  rmSync(path.dirname(place!), { recursive: true });
});

test('a mixture of sets is drawn by weight, and goes on where it was stopped', async () => {
  const text = readFileSync(path.join(folder, 'train.jsonl'), 'utf8');
  writeFileSync(path.join(folder, 'other.jsonl'), text.replaceAll('"id":"s', '"id":"t'));
  const sets = [path.join(folder, 'train.jsonl'), { file: path.join(folder, 'other.jsonl'), weight: 3 }];
  const data = { train: sets, allowOutside: true, prompt: 'find {Question}' };
  const settings = { data, promptsPerStep: 4, steps: 3, eval: { every: 0 }, paradigm: 'sft' };
  const ids = (output: string): string[] =>
    [1, 2, 3].flatMap((step) =>
      readFileSync(path.join(folder, output, 'groups', `00000${step}.jsonl`), 'utf8')
        .trim()
        .split('\n')
        .map((line) => (JSON.parse(line) as { id: string }).id),
    );
  await train(config('whole', settings));
  expect(ids('whole').filter((id) => id.startsWith('t'))).toHaveLength(9);
  const stop = new AbortController();
  const onEvent = (event: TrainEvent): void => {
    if (event.kind === 'step' && event.step === 1) stop.abort();
  };
  expect(await train(config('stopped', settings), { signal: stop.signal, onEvent })).toMatchObject({ steps: 1 });
  expect(await train(config('stopped', settings), { resume: true })).toMatchObject({ steps: 3 });
  expect(ids('stopped')).toEqual(ids('whole'));
  expect(losses('stopped')).toEqual(losses('whole'));
});

test('a short run in bfloat16 follows the one in float32', async () => {
  // Teacher-forced: SFT does not depend on what is sampled.
  const sft = { paradigm: 'sft', promptsPerStep: 6, eval: { every: 0 } };
  await train(config('float32', sft));
  await train(config('bfloat16', { ...sft, precision: 'bfloat16' }));
  const [full, half] = ['float32', 'bfloat16'].map((name) => steps(name).map(({ metrics }) => metrics.loss ?? NaN));
  full?.forEach((loss, i) => expect(Math.abs((half?.[i] ?? NaN) - loss) / loss).toBeLessThan(0.02));
  expect(half).not.toEqual(full);
  expect((full?.at(-1) ?? NaN) < (full?.[0] ?? NaN)).toBe(true);
});

test.each(['likelihood', 'off'])('align: %s', async (align) => {
  const result = await train(config('run', { steps: 1, label: { align } }));
  const lines = readFileSync(path.join(result.run, 'groups', '000001.jsonl'), 'utf8')
    .trim()
    .split('\n');
  for (const line of lines) {
    const { label } = JSON.parse(line) as { label: { form: string; text: string } };
    expect(label.form).not.toBe('');
    expect(label.text).toContain('<answer>');
  }
});

test('epochs are steps once the data are known, also where a run goes on', async () => {
  // 6 samples make 3 batches of 2.
  const asked = { steps: undefined, epochs: 1 };
  const stop = new AbortController();
  const first = await train(config('run', asked), {
    signal: stop.signal,
    onEvent: (event) => event.kind === 'step' && event.step === 2 && stop.abort(),
  });
  expect(first).toMatchObject({ steps: 2, interrupted: true });
  const saved = readFileSync(path.join(first.run, 'config.yaml'), 'utf8');
  expect(saved).toMatch(/^steps: 3$/m);
  expect(saved).not.toContain('epochs');
  expect(await train(config('run', asked), { resume: true })).toMatchObject({ steps: 3, interrupted: false });
  expect(await train(config('run', { ...asked, epochs: 1.2 }), { resume: true })).toMatchObject({ steps: 4 });
  expect(steps('run')).toHaveLength(4);
  const short = { ...asked, paradigm: 'sft-then-rlvr', sftSteps: 3 };
  await expect(train(config('short', short))).rejects.toThrow('sftSteps must be less than steps (3)');
});

test('a step whose loss is not finite ends the run, is left out, or rolled back, as is asked', async () => {
  const settings = { eval: { every: 0 }, checkpoint: { every: 2, keep: 9 }, objective: { std: 'none' } };
  /** With marks in some steps that are finite, and whose advantages are more than float32 holds. */
  const run = async (output: string, onNonFinite: string, bad: readonly number[] = [3], steps = 4): Promise<void> => {
    let done = 0;
    const onEvent = (event: TrainEvent): void => void (done = event.kind === 'step' ? event.step : done);
    let sign = 1;
    const score = (): number => (bad.includes(done + 1) ? 1e99 * (sign = -sign) : 0);
    const rewards = [defineReward({ name: 'huge', weight: 1, score })];
    await train(config(output, { ...settings, onNonFinite, steps }), { rewards, onEvent });
  };
  await expect(run('stopped', 'stop')).rejects.toThrow(/step 3, .*is NaN[^]*onNonFinite/);
  await run('skipped', 'skip');
  expect(steps('skipped').map(({ metrics }) => metrics.nonFinite)).toEqual([undefined, undefined, 1, undefined]);
  const warned = (output: string): unknown[] =>
    readEvents(path.join(folder, output, 'events.jsonl')).flatMap((event) =>
      event.type === 'warning' && event.message.includes('NaN') ? [event.message] : [],
    );
  expect(warned('skipped')).toEqual([expect.stringContaining('the update was left out')]);
  await run('rolled', 'rollback', [4]);
  expect(warned('rolled')).toEqual([expect.stringContaining('checkpoints/000002 again')]);
  const weights = (step: string): string =>
    readFileSync(path.join(folder, `rolled/checkpoints/${step}/model.safetensors`), 'latin1');
  expect(weights('000004')).toBe(weights('000002'));
  await expect(run('hopeless', 'skip', [1, 2, 3, 4, 5], 9)).rejects.toThrow('nothing was finite in 5 steps');
});

test('weights that an update has made no numbers end the run, or are taken back, before a checkpoint holds them', async () => {
  const optimizer = { learningRate: 1e300 };
  const settings = { eval: { every: 0 }, steps: 1, optimizer, onNonFinite: 'skip' };
  for (const [output, onNonFinite] of [
    ['spoiled', 'stop'],
    ['unskipped', 'skip'],
  ] as const) {
    const failed = train(config(output, { ...settings, onNonFinite }));
    await expect(failed).rejects.toThrow(/step 1: the weights are not finite .*1e\+300[^]*optimizer.learningRate/);
    expect(existsSync(path.join(folder, output, 'checkpoints'))).toBe(false);
  }
  const [warned, weights] = [[] as string[], new Set<string>()];
  await train(config('takenBack', { ...settings, onNonFinite: 'rollback' }), {
    onEvent: (event) => event.kind === 'warning' && warned.push(event.message),
  });
  expect(warned.join()).toMatch(/step 1: the weights are not finite[^]*are those of \S+000000 again/);
  for (const step of ['000000', '000001'])
    weights.add(readFileSync(path.join(folder, `takenBack/checkpoints/${step}/model.safetensors`), 'latin1'));
  expect(weights.size).toBe(1);
  const hopeless = train(config('hopelessly spoiled', { ...settings, steps: 9, onNonFinite: 'rollback' }));
  await expect(hopeless).rejects.toThrow('nothing was finite in 5 steps');
});

test.each(['float32', 'bfloat16', 'float64'])(
  'a reference in %s is the policy that a run begins with',
  async (precision) => {
    await train(config('run', { precision, steps: 1, objective: { kl: { coefficient: 0.1 } } }));
    expect(steps('run')[0]!.metrics['kl']).toBe(0);
  },
);

test('what falls apart is said by the run: the signs are numbers that every step has', async () => {
  const silent = defineReward({ name: 'silent', weight: 1, score: () => 0 });
  const warned: string[] = [];
  // Answers of four tokens earn nothing, and no label joins them.
  const settings = { paradigm: 'rlvr', steps: 6, promptsPerStep: 1, eval: { every: 0 }, task: { weights: ZERO } };
  await train(config('run', settings), {
    rewards: [silent],
    onEvent: (event) => {
      if (event.kind === 'warning') warned.push(event.message);
    },
  });
  const signs = ['reward', 'noVariance', 'gradientNorm', 'entropy', 'thinking', 'cutOff'];
  for (const { metrics } of steps('run')) expect(Object.keys(metrics)).toEqual(expect.arrayContaining(signs));
  expect(warned).toContainEqual(
    expect.stringMatching(/^step 5: every rollout earns 0: .*What helps: look at groups\//),
  );
});
