import { expect, test } from 'vitest';
import type { Comparison, ComparisonId } from './comparisons.ts';
import type { Measured } from './measure.ts';
import { verdict } from './report/goals.ts';
import { renderPage } from './report/page.ts';
import type { Result, ScalingResult } from './report/result.ts';

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

const page = renderPage('{{goals}}\n{{comparisons}}\n{{update limits}}\n{{decode limits}}', [result]);

test('a comparison has medians of both, and ratios of neighbouring steps', () => {
  expect(page).toContain('2 prompts of 48 tokens, 8 rollouts each of 26 tokens. 2 threads on CPU');
  expect(page).toContain('| step, s | 1.50 (1.00 to 2.00) | 6.50 (5.00 to 8.00) | 4.50 (4.00 to 5.00) times |');
  expect(page).toContain('| samples/s | 1.33 | 0.308 | 4.50 (4.00 to 5.00) times |');
  expect(page).toContain('| rollouts, tokens/s | 1,109 | 256 | 4.50 (4.00 to 5.00) times |');
  expect(page).toContain('| update, response tokens/s | 555 | 128 | 4.50 (4.00 to 5.00) times |');
  expect(page).toContain('| peak memory, MB | 250 | 1,000 | 0.250 of it |');
});

test('goals say what was reached, and by how much others were missed', () => {
  expect(page).toContain('| RLVR step against TRL, float32 | 4.50x (4.50x, 6.00x): goal missed by 25% |');
  expect(page).toContain('| 0.250x (0.300x, 0.200x): goal missed by 25% |');
  expect(page).toContain('| 1.30x (1.19x): **missed** by 9% |');
  expect(verdict('higher', 4, [4.5, 6])).toBe('**missed** by 11%, the goal by 33%');
  expect(verdict('higher', 7, [4.5, 6])).toBe('reached');
});

test('shares of the limits: 60 and 120 GFLOP/s of 200, 20 MB in 5 ms of 20 GB/s', () => {
  expect(page).toContain('| (b) float32 | 0.0600 | 0.750 | 80.0 | 200 | 45% | 10% |');
  expect(page).toContain('| (b) float32 | 20.0 | 5.00 | 4.00 | 20.0 | 20% | 100% |');
});

test('growth is compared with its form', () => {
  const points = [2, 4, 8, 32].map((at) => ({ at, seconds: [3 + at / 4], peakMb: 1, operations: at }));
  const scaling: ScalingResult = {
    ...{ name: 'scaling', machine, threads: 1, limits },
    series: [{ program: 'visurf', varied: 'group', model: 'b', points }],
  };
  const text = renderPage('{{scaling}}', [scaling]);
  expect(text).toContain('| visurf | (b) | 2.20 | **missed** by 10% |');
  expect(text).toContain('Fit: 3.00 + 0.250 G seconds; the points are within 0% of it.');
});
