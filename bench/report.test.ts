import { readdirSync } from 'node:fs';
import { join } from 'node:path';

import { expect, test } from 'vitest';
import type { Comparison, ComparisonId } from './comparisons.ts';
import type { Measured } from './measure.ts';
import { fallen, figuresOf, type Figure } from './report/figures.ts';
import { readResults, renderPage } from './report/page.ts';
import { verdict } from './report/verdict.ts';
import type { Kept, Result, ScalingResult } from './report/result.ts';

const machine = { cpu: 'CPU', cores: 2, features: ['avx2'], memoryGb: 8, kernel: '6', node: 'v24', load: 0 };
const limits = { gemm: { float32: 200, bfloat16: 800 }, bandwidth: 20 };

const program = (name: string, totals: number[], peakMb: number): Measured => ({
  name,
  ready: { peer: `${name} 1.0`, torch: '2.13.0', threads: 2, residentMb: 1 },
  steps: totals.map((total) => ({
    seconds: { generate: total / 4, update: total / 2, total },
    prefillSeconds: total / 8,
    cpuSeconds: 2 * total,
    tokens: 100,
    promptTokens: 48,
    peakMb,
  })),
});

const compared = (id: ComparisonId, ours: number[], peer: number[]): Comparison<Measured> => ({
  id,
  title: `comparison ${id}`,
  precision: 'float32',
  ours: program('visurf', ours, 250),
  peer: program('TRL', peer, 1000),
});

const result: Result = {
  name: 'b',
  title: 'middle',
  workload: { prompts: 2, group: 8, maxNewTokens: 26, microBatchPrompts: 1 },
  machine,
  threads: 2,
  limits,
  counts: { promptTokens: 48, update: 60e9, step: 80e9, decode: 1e9, decodeBytes: { float32: 20e6, bfloat16: 10e6 } },
  comparisons: [
    compared('step', [1, 2], [5, 8]),
    compared('rollouts', [1, 1], [2, 3]),
    compared('label', [1.2, 1.4], [1, 1]),
  ],
};

const template = '{{first}}\n{{goals}}\n{{comparisons}}\n{{update limits}}\n{{decode limits}}';
const page = renderPage(template, [{ level: 'avx2', result }]);

test('a comparison has medians of both, and ratios of neighbouring steps', () => {
  expect(page).toContain('2 prompts of 48 tokens, 8 rollouts each of 26 tokens. 2 threads on CPU');
  expect(page).toContain('| step, s | 1.50 (1.00 to 2.00) | 6.50 (5.00 to 8.00) | 4.50 (4.00 to 5.00) times |');
  expect(page).toContain('| samples/s | 1.33 | 0.308 | 4.50 (4.00 to 5.00) times |');
  expect(page).toContain('| rollouts, tokens/s | 1,109 | 256 | 4.50 (4.00 to 5.00) times |');
  expect(page).toContain('| update, response tokens/s | 555 | 128 | 4.50 (4.00 to 5.00) times |');
  expect(page).toContain('| peak memory, MB | 250 | 1,000 | 0.250 of it |');
});

test('goals have a column per level: what was reached, by how much others were missed, what nobody measured', () => {
  expect(page).toContain('| figure | goal | AVX2 | AVX512 |');
  expect(page).toContain(
    '| (b) RLVR step against TRL, float32 | 7.00x | 4.50x: missed by 36% | not measured here yet |',
  );
  expect(page).toContain('| 0.200x | 0.250x: missed by 25% | not measured here yet |');
  expect(page).toContain('| 1.19x | 1.30x: missed by 9% | not measured here yet |');
  expect(page).toContain('bfloat16 | 10.0x | no such products | not measured here yet |');
  expect(page).toContain('AVX512: not measured here yet.');
  expect(verdict('higher', 7, 6)).toBe('reached');
  expect(verdict('lower', 1.5, 1)).toBe('missed by 50%');
});

test('what a laptop gets comes first, whatever was measured first', () => {
  const rest = 'not measured here yet | not measured here yet | 0.250x |';
  expect(page).toContain(`| (b) | 1.50 s | 4.50x | 2.50x | ${rest}`);
  const wide: Kept = { level: 'avx512', result: { ...result, machine: { ...machine, features: ['avx2', 'avx512f'] } } };
  const both = renderPage(template, [wide, { level: 'avx2', result }]);
  expect(both.indexOf('middle, AVX2')).toBeLessThan(both.indexOf('middle, AVX512'));
  expect(both.indexOf('middle, AVX2')).toBeGreaterThan(0);
});

test('figures of a machine that was held to a level are marked', () => {
  const held: Kept = { level: 'avx2', result: { ...result, machine: { ...machine, features: ['avx2', 'avx512f'] } } };
  const text = renderPage(template, [held]);
  expect(text).toContain('| (b) RLVR step against TRL, float32 | 7.00x | 4.50x *: missed by 36% |');
  expect(text).toContain('| (b) | 1.50 s | 4.50x * |');
  expect(text).toContain('held to AVX2 *');
  expect(page).not.toContain('*');
});

test('shares of the limits: 60 and 120 GFLOP/s of 200, 20 MB in 5 ms of 20 GB/s', () => {
  expect(page).toContain('| (b) float32, AVX2 | 0.0600 | 0.750 | 80.0 | 200 | 45% | 10% |');
  expect(page).toContain('| (b) float32, AVX2 | 20.0 | 5.00 | 4.00 | 20.0 | 20% | 100% |');
});

test('growth is compared with its form', () => {
  const points = [2, 4, 8, 32].map((at) => ({ at, seconds: [3 + at / 4], peakMb: 1, operations: at }));
  const scaling: ScalingResult = {
    ...{ name: 'scaling', machine, threads: 1, limits },
    series: [{ program: 'visurf', varied: 'group', model: 'b', points }],
  };
  const text = renderPage('{{scaling}}', [{ level: 'avx512', result: scaling }]);
  expect(text).toContain('| visurf | (b) | 2.20 | missed by 10% |');
  expect(text).toContain('Fit: 3.00 + 0.250 G seconds; the points are within 0% of it.');
});

const figure = (name: string, value: number, better: Figure['better'] = 'higher', cpu = 'CPU'): Figure => ({
  ...{ name, value, better, cpu },
  format: (each) => `${each}x`,
});

test('a figure that fell by more than 15% has a line, in the direction that is worse', () => {
  const before = [figure('speed', 10), figure('memory', 0.2, 'lower'), figure('gone', 1)];
  expect(fallen(before, [figure('speed', 8.6), figure('memory', 0.229, 'lower')])).toEqual([]);
  expect(fallen(before, [figure('speed', 12), figure('memory', 0.1, 'lower'), figure('new', 1)])).toEqual([]);
  expect(fallen(before, [figure('speed', 8), figure('memory', 0.25, 'lower')])).toEqual([
    'speed: 8x, was 10x, 20% worse',
    'memory: 0.25x, was 0.2x, 25% worse',
  ]);
  expect(fallen(before, [figure('speed', 5, 'higher', 'other')])).toEqual([
    'speed: 5x, was 10x, 50% worse (committed: CPU; now: other)',
  ]);
  expect(fallen(before, [figure('speed', NaN)])).toHaveLength(1);
});

test('every figure falls unless it is the same: steps twice as slow, memory twice as high', () => {
  const twice = ({ name, ready, steps }: Measured): Measured => {
    const slow = steps.map((step) => ({
      ...{ ...step, peakMb: 2 * step.peakMb },
      seconds: { generate: 0, update: 0, ...step.seconds },
    }));
    for (const { seconds } of slow) for (const phase in seconds) (seconds as Record<string, number>)[phase]! *= 2;
    return { name, ready, steps: slow };
  };
  const slower = { ...result, comparisons: result.comparisons.map((pair) => ({ ...pair, ours: twice(pair.ours) })) };
  const [before, after] = [result, slower].map((each) => figuresOf([{ level: 'avx2', result: each }]));
  expect(before!.map(({ name }) => name)).toEqual([
    '(b) RLVR step against TRL, float32',
    "(b) rollouts against transformers' generate, float32",
    '(b) peak memory of an RLVR step against TRL, float32',
    "(b) peak memory of rollouts against transformers' generate, float32",
    '(b) update, useful operations against the rate of products, float32',
    '(b) ViSurf step against an RLVR step, at most 1 + 1.5 / G',
  ]);
  expect(fallen(before!, after!)).toHaveLength(before!.length);
  expect(fallen(before!, before!)).toEqual([]);
});

test('the folder of results has nothing but results of workloads: every bench ends with reading it', () => {
  const folder = join(import.meta.dirname, 'results');
  expect(readResults(folder)).toHaveLength(readdirSync(folder).length);
});
