import { mkdirSync, mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import fc from 'fast-check';
import sharp from 'sharp';
import { beforeAll, expect, test } from 'vitest';
import { UserError } from '../errors.ts';
import type { Frame, Sample, Samples } from '../types.ts';
import { Experiment } from '../question/experiment.ts';
import { loadDataset, readDataset } from './dataset.ts';
import { parseSample } from './parse.ts';

const directory = mkdtempSync(path.join(tmpdir(), 'visurf-data-'));

beforeAll(async () => {
  mkdirSync(path.join(directory, 'images'));
  const png = await sharp({ create: { width: 20, height: 10, channels: 3, background: '#808080' } })
    .png()
    .toBuffer();
  writeFileSync(path.join(directory, 'images/a.png'), png);
  writeFileSync(path.join(directory, 'cut.png'), png.subarray(0, png.length - 20));
});

function write(...lines: (string | object)[]): string {
  const file = path.join(directory, 'train.jsonl');
  writeFileSync(file, lines.map((line) => (typeof line === 'string' ? line : JSON.stringify(line))).join('\n'));
  return file;
}

async function faultsOf(file: string, options = {}): Promise<string> {
  const error: unknown = await loadDataset(file, { task: 'grounding', ...options }).catch((thrown: unknown) => thrown);
  expect(error).toBeInstanceOf(UserError);
  return (error as UserError).message.replaceAll(`${directory}/`, '');
}

const good = { image: 'images/a.png', problem: 'a car', solution: [] };

test('samples come with absolute paths, defaults and other fields', async () => {
  const file = write({ ...good, id: 7, task: 'grounding', extra: 1 }, '', {
    ...good,
    image: ['images/a.png', 'images/a.png'],
  });
  const image = path.join(directory, 'images/a.png');
  expect([...(await loadDataset(file, { task: 'grounding' }))]).toEqual([
    {
      id: '7',
      images: [image],
      problem: 'a car',
      solution: '[]',
      task: 'grounding',
      extra: { extra: 1 },
      source: { file, line: 1 },
    },
    {
      id: 'line-3',
      images: [image, image],
      problem: 'a car',
      solution: '[]',
      task: 'grounding',
      extra: {},
      source: { file, line: 3 },
    },
  ]);
});

test('a byte order mark, carriage returns and a missing last newline are fine', async () => {
  const file = write(`\ufeff${JSON.stringify(good)}\r`, `${JSON.stringify(good)}\r`);
  expect(await loadDataset(file, { task: 'grounding' })).toHaveLength(2);
});

test('all faults come in one list', async () => {
  const file = write(
    good,
    '{"image": ',
    { image: 'images/a.png', solution: [] },
    { ...good, image: 'none.png', id: 'x' },
    { ...good, image: 'cut.png' },
    { ...good, id: 'x' },
    { ...good, solution: 'bad' },
    { problem: 'a', solution: [] },
    { ...good, solution: null },
    '[1]',
    { ...good, task: 'count' },
  );
  const truths = () => ({
    parseTruth: (sample: Sample) => {
      if (sample.solution === 'bad') throw new UserError('solution is not JSON', { where: 'elsewhere' });
    },
  });
  const lines = (await faultsOf(file, { truths })).split('\n');
  expect(lines[0]).toBe('9 bad samples:');
  expect(lines[1]).toContain('train.jsonl:2: malformed JSON');
  expect(lines[2]).toBe('  train.jsonl:3: missing field problem');
  expect(lines[3]).toBe('  train.jsonl:4 (id x): image file not found: none.png');
  expect(lines[4]).toContain('train.jsonl:5: damaged or unreadable image');
  expect(lines[5]).toBe('  train.jsonl:6 (id x): same id as line 4');
  expect(lines[6]).toBe('  train.jsonl:7: solution is not JSON');
  expect(lines[7]).toBe('  train.jsonl:9: missing field solution');
  expect(lines[8]).toBe('  train.jsonl:10: not a JSON object');
  expect(lines[9]).toBe(
    '  train.jsonl:11: there is no task count: choose one of grounding, box, click, anomaly, math, answer',
  );
  expect(lines[10]).toBe('  Correct or remove these lines.');
});

test('what reads a solution is told the size of the image', async () => {
  const sizes: unknown[] = [];
  const truths = () => ({ parseTruth: (_: Sample, frames?: readonly Frame[]) => sizes.push(frames) });
  await loadDataset(write(good), { task: 'grounding', truths });
  expect(sizes).toEqual([[{ width: 20, height: 10, modelWidth: 20, modelHeight: 10 }]]);
});

test('a long list is cut', async () => {
  const message = await faultsOf(write(...Array.from({ length: 25 }, () => '{')));
  expect(message).toContain('25 bad samples');
  expect(message).toContain('  and 5 more');
});

test('lines that are too long, or not text', async () => {
  const long = { ...good, problem: 'a'.repeat(5000) };
  expect(await faultsOf(write(long, good), { limits: { maxLineBytes: 1000 } })).toContain('train.jsonl:1: line of 5');
  const file = path.join(directory, 'latin.jsonl');
  writeFileSync(file, Buffer.from('{"problem": "\xe9"}', 'latin1'));
  expect(await faultsOf(file)).toContain('latin.jsonl:1: not UTF-8');
});

test('no file, no samples, too many samples', async () => {
  expect(await faultsOf(path.join(directory, 'none.jsonl'))).toBe('none.jsonl: no such file');
  expect(await faultsOf(write(''))).toContain('train.jsonl: holds no samples');
  expect(await faultsOf(write(good, good), { limits: { maxSamples: 1 } })).toContain('more than 1 samples');
});

test('a limit reads no further', async () => {
  expect(await loadDataset(write(good, '{'), { task: 'grounding', limit: 1 })).toHaveLength(1);
});

test('a mistake of ours is not blamed on the data', async () => {
  const truths = () => ({ parseTruth: () => (undefined as unknown as { x: number }).x });
  await expect(loadDataset(write(good), { task: 'grounding', truths })).rejects.toBeInstanceOf(TypeError);
});

test('any line is a sample, or has a reason why not', () => {
  const field = fc.constantFrom('image', 'problem', 'solution', 'task', 'id', '__proto__');
  const line = fc.oneof(
    fc.string(),
    fc.json(),
    fc.dictionary(field, fc.jsonValue()).map((value) => JSON.stringify(value)),
  );
  fc.assert(
    fc.property(line, (text) => {
      const result = parseSample(text, { file: 'a.jsonl', line: 1 }, 'grounding');
      if (typeof result === 'string') return result !== '';
      return (
        result.images.every((image) => image !== '') && result.problem !== '' && typeof result.solution === 'string'
      );
    }),
  );
});

test('the reasoning of a label is a text without tags', () => {
  const parsed = (thinking: unknown) =>
    parseSample(
      JSON.stringify({ image: 'a.png', problem: 'x', solution: [], thinking }),
      { file: 'f', line: 1 },
      'none',
    );
  expect(parsed(' left of it')).toMatchObject({ thinking: ' left of it', extra: {} });
  expect(parsed(undefined)).not.toHaveProperty('thinking');
  expect(parsed('<think>left</think>')).toContain('without <think> or <answer>');
  for (const bad of [' ', 3, null]) expect(parsed(bad)).toBe('thinking must be a text that is not empty');
});

test('<image> is the place of an image: first ones say nothing new, others stay, their number must be right', async () => {
  const image = ['images/a.png', 'images/a.png'];
  const lines = [
    { ...good, problem: '<image>\nfind the car' },
    { ...good, image, problem: 'compare <image> with <image>' },
  ];
  const samples = await loadDataset(write(...lines), { task: 'grounding' });
  expect(samples.map(({ problem }) => problem)).toEqual(['find the car', 'compare <image> with <image>']);
  const message = await faultsOf(write({ ...good, image, problem: '<image> which?' }, { ...good, problem: '<image>' }));
  expect(message).toContain('train.jsonl:1: the question has 1 <image> for 2 images');
  expect(message).toContain('train.jsonl:2: problem must be a text');
});

test('boxes in shares of the picture are refused, once for all lines', async () => {
  const solution = [{ bbox_2d: [0.1, 0.2, 0.5, 0.9] }];
  const message = await faultsOf(write({ ...good, solution }, { ...good, solution }));
  expect(message).toContain('2 bad samples');
  expect(message).toContain('train.jsonl:1 and 1 more lines: all 2 boxes lie within 0..1: shares of the picture?');
});

test('a box that fails as corners and holds as corner, width and height is named so', async () => {
  const truths = (samples: Samples) => Experiment.open().decide(samples);
  const file = write(
    { ...good, solution: [{ bbox_2d: [12, 2, 5, 6] }] },
    { ...good, solution: [{ bbox_2d: [5, 6, 3, 9] }] },
  );
  const { findings } = await readDataset(file, { task: 'grounding', truths });
  expect(findings.map(({ kind, line }) => [kind, line])).toEqual([
    ['xywh', 1],
    ['label', 2],
  ]);
});
