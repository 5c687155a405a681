/** `data.train` as a list of sets with weights. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

import { afterEach, beforeEach, expect, test } from 'vitest';

import { checkData } from '../check.ts';
import { said, saidOfQuestions } from '../compare/decisive.ts';
import { changedKeys } from '../config/changed.ts';
import { configToYaml, loadConfig, parseConfig } from '../config/load.ts';
import type { Config } from '../config/schema.ts';
import { cursorOf, DataCursor } from '../data/cursor.ts';
import { pickSamples } from '../data/samples.ts';
import { UserError } from '../errors.ts';
import { fixtures, tinyModel } from '../testing/oracle.ts';
import type { Samples } from '../types.ts';
import { requireSameData, type DataPrints } from './resume.ts';
import { loadData } from './training.ts';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'visurf-mixture-'));
  write('a.jsonl', 4, (i) => ({ id: `a${i}` }));
  write('b.jsonl', 6, (i) => ({ id: `b${i}` }));
});
afterEach(() => rmSync(folder, { recursive: true }));

/** Sums, which need no image. */
function write(name: string, count: number, more: (i: number) => object): void {
  const lines = Array.from({ length: count }, (_, i) => ({ problem: `${i} + 1`, solution: `${i + 1}`, ...more(i) }));
  mkdirSync(path.dirname(path.join(folder, name)), { recursive: true });
  writeFileSync(path.join(folder, name), lines.map((line) => `${JSON.stringify(line)}\n`).join(''));
}

const place = (name: string): string => path.join(folder, name);
const config = (train: unknown, data: object = {}, others: object = {}): Config =>
  parseConfig({ model: 'm', output: 'o', steps: 1, data: { train, task: 'math', ...data }, ...others });
const mixture = (weight: number): unknown => [place('a.jsonl'), { file: place('b.jsonl'), weight }];

const idsOf = (samples: Samples): string[] => samples.map(({ id }) => id);
const drawn = (samples: Samples, count: number, seed = 1): string[] =>
  cursorOf(samples, seed)
    .next(count)
    .map((index) => samples.at(index)!.id);
const shareOf = (ids: readonly string[], start: string): number =>
  ids.filter((id) => id.startsWith(start)).length / ids.length;

function messageOf(act: () => unknown): string {
  try {
    act();
  } catch (error) {
    expect(error).toBeInstanceOf(UserError);
    return (error as Error).message.replaceAll(`${folder}/`, '');
  }
  throw new Error('was accepted');
}

test('weights are shares of the prompts drawn, and every sample of a set comes before one comes again', async () => {
  const { samples, prints, images } = await loadData(config(mixture(3)));
  expect(idsOf(samples)).toEqual(['a0', 'a1', 'a2', 'a3', 'b0', 'b1', 'b2', 'b3', 'b4', 'b5']);
  expect(images).toBe(0);
  expect(prints.train).toMatchObject([
    { file: 'a.jsonl', samples: 4 },
    { file: 'b.jsonl', samples: 6 },
  ]);
  const ids = drawn(samples, 400);
  expect([shareOf(ids, 'a'), shareOf(ids, 'b')]).toEqual([0.25, 0.75]);
  expect(shareOf(ids.slice(0, 8), 'a')).toBe(0.25);
  expect(new Set(ids.filter((id) => id.startsWith('b')).slice(0, 6)).size).toBe(6);
  expect(drawn(samples, 400)).toEqual(ids);
  expect(drawn(samples, 400, 2)).not.toEqual(ids);
});

test('a list of one set is that set', async () => {
  const alone = await loadData(config(place('a.jsonl')));
  for (const train of [[place('a.jsonl')], [{ file: place('a.jsonl'), weight: 7 }]]) {
    const listed = await loadData(config(train));
    expect([...listed.samples]).toEqual([...alone.samples]);
    expect(listed.prints).toEqual(alone.prints);
    expect(listed.imagesPrints).toEqual(alone.imagesPrints);
    const cursor = cursorOf(listed.samples, 5);
    const plain = new DataCursor(4, 5);
    expect(cursor.next(30)).toEqual(plain.next(30));
    expect(cursor.state).toEqual(plain.state);
  }
});

test('ids that sets share are told apart by the names of their files', async () => {
  write('a/x.jsonl', 2, () => ({}));
  write('b/x.jsonl', 2, () => ({}));
  write('c/x.jsonl', 2, () => ({}));
  const asked = config(['a', 'b', 'c'].map((name) => place(`${name}/x.jsonl`)));
  const { samples, prints } = await loadData(asked);
  const ids = ['line-1', 'line-2', 'x.jsonl#2:line-1', 'x.jsonl#2:line-2', 'x.jsonl#3:line-1', 'x.jsonl#3:line-2'];
  expect(idsOf(samples)).toEqual(ids);
  const other = { ...prints, train: [prints.train].flat().map((print) => ({ ...print, sha256: '' })) };
  // The samples themselves are compared where the prints differ: ids as their files have them.
  requireSameData(prints, { config: asked, samples, validation: [], prints: other });
});

test('a share that is held out leaves a mixture, and so do samples that cannot be asked', async () => {
  const held = config(mixture(1), { validation: '20%' }, { eval: { every: 1 } });
  const { samples, validation, prints } = await loadData(held);
  expect([samples.length, validation.length]).toEqual([8, 2]);
  expect(shareOf(drawn(samples, 100), 'a')).toBe(0.5);
  const data = { samples, validation, prints };
  requireSameData(prints, { config: held, ...data });

  const all = (await loadData(config(mixture(3)))).samples;
  const some = pickSamples(all, [0, 3, 5, 6, 9]);
  expect(idsOf(some)).toEqual(['a0', 'a3', 'b1', 'b2', 'b5']);
  expect(shareOf(drawn(some, 100), 'a')).toBe(0.25);
  expect(shareOf(drawn(pickSamples(all, [5, 6]), 9), 'b')).toBe(1);
  expect(idsOf(pickSamples(all, [9, 0]))).toEqual(['b5', 'a0']);
});

test('what is left to auto is decided by all sets together', async () => {
  const box = { bbox_2d: [1, 2, 30, 40] };
  const image = path.join(fixtures, 'images', 'small-40x40.png');
  write('boxes.jsonl', 2, (i) => ({ id: `x${i}`, image, task: 'grounding', solution: [box] }));
  write('points.jsonl', 2, (i) => ({
    ...{ id: `y${i}`, image, task: 'grounding' },
    solution: [{ ...box, point_2d: [9, 9] }],
  }));
  const asked = (names: readonly string[], task: object): Config =>
    config(
      names.map((name) => place(`${name}.jsonl`)),
      { allowOutside: true },
      { tasks: { grounding: task } },
    );
  // As if they were one file, in whichever order.
  for (const names of [
    ['boxes', 'points'],
    ['points', 'boxes'],
  ]) {
    // prettier-ignore
    await expect(loadData(asked(names, {}))).rejects.toThrow(
      'boxes.jsonl:1 (id x0): object 1: "point_2d" is missing, which other labels have',
    );
    const { experiment } = await loadData(asked(names, { points: false }));
    expect(experiment.settings.parameters.grounding).toMatchObject({ points: false });
  }
  const { experiment } = await loadData(asked(['points', 'a'], {}));
  expect(experiment.settings.parameters.grounding).toMatchObject({ points: true });
});

test('a run goes on with the sets that it had, and is told which has changed', async () => {
  const asked = config(mixture(3));
  const before = await loadData(asked);
  const check = async (now: Config, prints: DataPrints | undefined = before.prints): Promise<void> => {
    const { samples, validation, prints: own } = await loadData(now);
    requireSameData(prints, { config: now, samples, validation, prints: own });
  };
  const fault = async (now: Config): Promise<string> => {
    const error: unknown = await check(now).catch((thrown: unknown) => thrown);
    return messageOf(() => {
      throw error;
    });
  };
  await check(asked);
  await check(asked, undefined);
  expect(await fault(config(place('a.jsonl')))).toMatch(/^a\.jsonl: .*trained with: it was a\.jsonl, b\.jsonl/);
  expect(await fault(config([place('b.jsonl'), place('a.jsonl')]))).toMatch(/^b\.jsonl: .*it had 4 samples and has 6/);
  write('b.jsonl', 7, (i) => ({ id: `b${i}` }));
  expect(await fault(asked)).toMatch(/^b\.jsonl: .*1 samples were appended/);
});

test('every set is read before one of them is complained about', async () => {
  writeFileSync(place('a.jsonl'), '{}\n');
  const error: unknown = await loadData(config([...(mixture(3) as unknown[]), place('none.jsonl')])).catch(
    (thrown: unknown) => thrown,
  );
  expect(String(error)).toContain('a.jsonl:1: missing field problem');
  expect(String(error)).toContain('none.jsonl');
  const skipped: string[] = [];
  write('a.jsonl', 1, () => ({ id: 'a0' }));
  writeFileSync(place('b.jsonl'), '{}\n{"id": "b0", "problem": "1", "solution": "1"}\n');
  const { samples } = await loadData(config(mixture(3)), { onSkip: (message) => skipped.push(message) });
  expect(idsOf(samples)).toEqual(['a0', 'b0']);
  expect(skipped.join()).toContain('b.jsonl:1');
});

test('a check without files looks at every set of the configuration, and at what it holds out', async () => {
  const asked = config(mixture(3), { validation: place('a.jsonl') }, { model: tinyModel });
  expect(await checkData([], { config: asked })).toMatchObject({ n: 10, tasks: { math: 10 } });
  writeFileSync(place('b.jsonl'), '{}\n');
  const { findings } = await checkData([], { config: asked });
  expect(findings.filter(({ severity }) => severity === 'error')).toMatchObject([{ file: place('b.jsonl'), line: 1 }]);
});

test('mistakes name the entry and its line', () => {
  const file = place('config.yaml');
  const of = (...entries: string[]): string => {
    const list = entries.map((entry) => `    - ${entry}\n`).join('');
    writeFileSync(file, `model: m\noutput: o\nsteps: 1\ndata:\n  task: math\n  train:\n${list}`);
    return messageOf(() => loadConfig(file));
  };
  expect(of('a.jsonl', '{file: b.jsonl, weight: 0}')).toContain('config.yaml:8: data.train.1.weight: Too small');
  expect(of('a.jsonl', '{file: b.jsonl, weight: two}')).toContain('config.yaml:8: data.train.1.weight: ');
  expect(of('{weight: 2}')).toContain('config.yaml:7: missing key data.train.0.file');
  expect(of('{file: b.jsonl, wight: 2}')).toContain('config.yaml:7: unknown key data.train.0.wight');
  expect(of('a.jsonl', '7')).toContain('config.yaml:8: data.train.1: ');
  expect(of('a.jsonl', './a.jsonl')).toContain('config.yaml:8: data.train.1: the file is in the list twice');
  expect(messageOf(() => config([]))).toContain('data.train: Too small');
  expect(messageOf(() => config(7))).toContain('data.train: ');
  expect(messageOf(() => config(undefined))).toContain('missing key data.train');
});

test('a list with aliases is what they stand for', () => {
  const file = place('config.yaml');
  writeFileSync(file, 'model: m\noutput: o\nsteps: 1\ndata: { task: math, validation: &v v.jsonl, train: [*v, { file: w.jsonl }] }\n'); // prettier-ignore
  const { data } = loadConfig(file);
  expect(data).toMatchObject({ validation: place('v.jsonl'), train: [place('v.jsonl'), { file: place('w.jsonl') }] });
});

test('a list reads back, counts by weights and not by folders', () => {
  const file = place('config.yaml');
  const text = (name: string, weight: number): string =>
    `model: ./m\noutput: o\nsteps: 1\ndata: { task: math, train: [${name}/a.jsonl, { file: ${name}/b.jsonl, weight: ${weight} }] }\n`;
  const load = (name: string, weight: number): Config => {
    writeFileSync(file, text(name, weight));
    return loadConfig(file);
  };
  const one = load('x', 3);
  expect(one.data.train).toEqual([place('x/a.jsonl'), { file: place('x/b.jsonl'), weight: 3 }]);
  writeFileSync(file, configToYaml(one, folder));
  expect(loadConfig(file)).toEqual(one);
  expect(changedKeys(one, load('y', 3))).toEqual([]);
  expect(changedKeys(one, load('x', 2)).map(({ key }) => key)).toEqual(['data.train']);
  expect(said(load('y', 3))).toEqual(said(one));
  expect(said(load('x', 2))).not.toEqual(said(one));
  // The model before training answers the same.
  expect(saidOfQuestions(load('x', 2))).toEqual(saidOfQuestions(one));
});
