import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { Experiment } from '@visurf/core/internals';
import { Random } from '@visurf/mini-grounding/kit';
import { afterAll, beforeAll, expect, test } from 'vitest';

import { generateSuite, type Line, type SuiteFiles } from './dataset.ts';
import { drawFigure } from './pictures/figures.ts';
import { drawQuestions, SKILL_SETS, TASK_SETS } from './questions.ts';

const PICTURES = { train: 6, validation: 2, test: 3 };
let directory = '';
let files: SuiteFiles;
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'mini-suite-'));
  files = await generateSuite(directory, { seed: 1, pictures: PICTURES });
});
afterAll(() => rm(directory, { recursive: true }));

const lines = async (file: string): Promise<Line[]> =>
  (await readFile(file, 'utf8'))
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as Line);

test('every file is one that the library reads, with a task for every line', async () => {
  const { skills, ...others } = files;
  for (const file of [...Object.values(others), ...Object.values(skills)]) {
    const samples = (await Experiment.open().load(file)).samples;
    expect(samples.length).toBeGreaterThan(0);
  }
});

test('sets come in turn, and referring has a second question that nothing matches', async () => {
  const train = await lines(files.train);
  expect(train.slice(0, 7).map(({ set }) => set)).toEqual(['referring', ...TASK_SETS]);
  expect(train).toHaveLength(7 * PICTURES.train);
  expect(new Set(train.map(({ id }) => id)).size).toBe(train.length);
  const referring = train.filter(({ set }) => set === 'referring');
  expect(referring.map(({ kind, solution }) => [kind, (solution as unknown[]).length]).slice(0, 2)).toEqual([
    ['present', 1],
    ['absent', 0],
  ]);
  expect(new Set((await lines(files.skills.test)).map(({ set }) => set))).toEqual(new Set(SKILL_SETS));
});

test('a seed gives the same again, another one gives others', async () => {
  const again = await generateSuite(join(directory, 'again'), { seed: 1, pictures: PICTURES, sets: ['sums'] });
  const other = await generateSuite(join(directory, 'other'), { seed: 2, pictures: PICTURES, sets: ['sums'] });
  const sums = (await lines(files.test)).filter(({ set }) => set === 'sums');
  expect(await lines(again.test)).toEqual(sums);
  expect(await lines(other.test)).not.toEqual(sums);
  const [line] = sums;
  const bytes = await readFile(join(directory, line?.image ?? ''));
  expect(await readFile(join(directory, 'again', line?.image ?? ''))).toEqual(bytes);
});

test('no composition of a test figure occurs in training', () => {
  const compose = (split: 'train' | 'test', i: number): string =>
    drawFigure(split, new Random(`${split}/${i}`))
      .map(({ color, shape }) => `${color} ${shape}`)
      .sort()
      .join(', ');
  const train = new Set(Array.from({ length: 1500 }, (_, i) => compose('train', i)));
  const shared = Array.from({ length: 300 }, (_, i) => compose('test', i)).filter((each) => train.has(each));
  expect(shared).toEqual([]);
});

test('answers are spread: no constant answer is right often', async () => {
  for (const [set, most] of [
    ['sums', 0.25],
    ['defects', 0.65],
    ['color', 0.35],
    ['shape', 0.45],
    ['counting', 0.75],
    ['reading', 0.25],
  ] as const) {
    const solutions: string[] = [];
    for (let i = 0; i < 120; i++) {
      const { questions } = await drawQuestions(set, 'validation', 3, i);
      solutions.push(String(questions[0]?.solution));
    }
    const counts = [...Map.groupBy(solutions, (each) => each).values()].map(({ length }) => length);
    expect(Math.max(...counts) / solutions.length, set).toBeLessThan(most);
    expect(counts.length, set).toBeGreaterThan(1);
  }
});
