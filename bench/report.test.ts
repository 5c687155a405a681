import { expect, test } from 'vitest';
import type { Measured } from './measure.ts';
import { renderReport, type Result } from './report.ts';

const program = (name: string, seconds: number[], peakMb: number): Measured => ({
  name,
  ready: { peer: name, torch: '2.13.0', threads: 2, residentMb: 1 },
  steps: seconds.map((total) => ({
    seconds: { generate: total / 2, total },
    cpuSeconds: total,
    tokens: 100,
    promptTokens: 48,
    peakMb,
  })),
});

const result: Result = {
  name: 'a',
  title: 'small',
  workload: {
    problem: 'find',
    group: 8,
    promptsPerStep: 16,
    maxNewTokens: 24,
    microBatches: 1,
    microBatchPrompts: 16,
    repeats: 1,
  },
  machine: { cpu: 'CPU', cores: 2, features: ['avx2'], memoryGb: 8, kernel: '6', node: 'v24', load: 0 },
  threads: 2,
  comparisons: [
    {
      title: 'Whole step',
      programs: [
        program('visurf rlvr', [1, 2], 250),
        program('visurf visurf', [1.1, 2.2], 260),
        program('TRL', [5, 8], 1000),
      ],
    },
  ],
};

test('the page has ratios, memory and the share of the label', () => {
  const page = renderReport([result]);
  expect(page).toContain('16 prompts of 48 tokens, 8 rollouts each of 24 tokens');
  expect(page).toContain(
    '| visurf rlvr | 1.50 (1.00 to 2.00) | generate 0.750 | 150 | 250 | 4.50 (4.00 to 5.00) | 1.50 (4.33) | 0.250 |',
  );
  expect(page).toContain('| TRL | 6.50 (5.00 to 8.00) |');
  expect(page).toContain('A ViSurf step costs 1.10 (1.10 to 1.10) times an RLVR step; one response more is 1.13 times');
});
