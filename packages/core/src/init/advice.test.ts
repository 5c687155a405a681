import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { valueAt } from '../config/keys.ts';
import { loadConfig } from '../config/load.ts';
import { advise } from './advice.ts';
import { linesOf, WAYS, yamlOf } from './configuration.ts';
import type { Probe } from './probe.ts';
import type { Survey } from './survey.ts';

const five = [30, 60, 90, 120, 300] as const;
const found: Survey = {
  ...{ samples: 400, images: 200, tasks: { grounding: 400 }, empty: 0.5, classes: [] },
  boxes: { n: 200, side: five, seen: five, tiny: 0 },
  ...{ sizes: [], area: [1e5, 1e5, 2e5, 3e5, 4e5], problem: [3, 4, 5, 6, 20] },
};

const kind = (right: number, reached: number) => ({ questions: 32, right, reached });
const probed = (changes: Partial<Probe> = {}): Probe => ({
  ...{ questions: 64, answers: 8, all: kind(0.3, 0.6), kinds: { present: kind(0.4, 0.8), absent: kind(0.2, 0.4) } },
  ...{
    wellFormed: 0.9,
    thinking: 0.9,
    cutOff: 0,
    length: 100,
    labelLength: 40,
    labelLogProb: -9,
    labelTokenLogProb: -1,
  },
  separation: { accuracy: 0.95, error: 0.02, kinds: { present: 128, absent: 128 } },
  cut: undefined,
  ...changes,
});

const separated = (accuracy: number) => ({ accuracy, error: 0.03, kinds: { present: 128, absent: 128 } });

test('the paradigm follows what the base does', () => {
  const never = { present: kind(0.4, 0.8), absent: kind(0, 0) };
  expect(advise(found, probed({ kinds: never }))).toMatchObject({
    paradigm: 'visurf',
    why: expect.stringMatching('never says'),
  });
  expect(advise(found, probed({ all: kind(0.5, 0.95) })).paradigm).toBe('rlvr');
  expect(advise(found, probed({ wellFormed: 0.05 })).paradigm).toBe('sft-then-rlvr');
  expect(advise(found, probed()).paradigm).toBe('visurf');
  // A base that cannot tell the kinds apart: its label would take everything over.
  const blind = advise(found, probed({ kinds: never, separation: separated(0.55) }));
  expect(blind).toMatchObject({ paradigm: 'sft', why: expect.stringMatching('answering \\[\\] always') });
  const dim = advise(found, probed({ separation: separated(0.72) }));
  expect(dim).toMatchObject({ paradigm: 'visurf', warnings: [expect.stringMatching('may take present ones over')] });
  // Labels would win every group.
  const weak = { all: kind(0, 0.03), kinds: { present: kind(0, 0.06), absent: kind(0, 0) } };
  expect(advise(found, probed(weak))).toMatchObject({ paradigm: 'sft', why: expect.stringMatching('stop to think') });
  expect(advise(found, undefined)).toMatchObject({ paradigm: 'visurf', why: expect.stringMatching('was not asked') });
});

test('objects that the model cannot see, and data without [], are named', () => {
  const { warnings } = advise({ ...found, empty: 0, boxes: { ...found.boxes, tiny: 0.5 } }, probed());
  expect(warnings).toEqual([
    expect.stringMatching('50% of the boxes'),
    expect.stringMatching('no question has \\[\\]'),
  ]);
});

test('every configuration reads back with the values that were chosen, under any circumstances', () => {
  const folder = mkdtempSync(path.join(tmpdir(), 'visurf-init-'));
  const share = fc.double({ min: 0, max: 1, noNaN: true });
  const arbitrary = fc.record({
    samples: fc.integer({ min: 1, max: 1e6 }),
    validation: fc.integer({ min: 1, max: 1e5 }),
    parameters: fc.integer({ min: 1e4, max: 1e10 }),
    way: fc.constantFrom(...WAYS),
    device: fc.constantFrom('cpu', 'cuda'),
    precision: fc.constantFrom('float32', 'bfloat16'),
    maxPixels: fc.integer({ min: 1e4, max: 1e7 }),
    positions: fc.option(fc.integer({ min: 64, max: 1e6 }), { nil: undefined }),
    side: fc.integer({ min: 1, max: 400 }),
    area: fc.integer({ min: 100, max: 1e8 }),
    prompt: fc.option(fc.constant('find: {Question} # "all" of it'), { nil: undefined }),
    allowOutside: fc.boolean(),
    isProbed: fc.boolean(),
    wellFormed: share,
    reached: share,
    cutOff: share,
    accuracy: share,
    length: fc.oneof(fc.integer({ min: 1, max: 4000 }), fc.constant(NaN)),
    name: fc.constantFrom('cars', 'a-b_c', '2024'),
  });
  try {
    fc.assert(
      fc.property(arbitrary, ({ side, area, maxPixels, isProbed, reached, accuracy, ...given }) => {
        const own = {
          ...found,
          area: [1, 1, 1, 1, area] as const,
          boxes: { ...found.boxes, side: [1, side, side, side, side] as const },
        };
        const { wellFormed, cutOff, length } = given;
        const probe = isProbed
          ? probed({ wellFormed, cutOff, length, all: kind(reached, reached), separation: separated(accuracy) })
          : undefined;
        const lines = linesOf({
          ...{
            ...given,
            model: '/models/base',
            folder,
            survey: own,
            probe,
            advice: advise(own, probe),
            system: undefined,
          },
          limits: { minPixels: 3136, maxPixels },
        });
        const file = path.join(folder, 'config.yaml');
        writeFileSync(file, yamlOf(lines, ['heading']));
        const warnings: string[] = [];
        const config = loadConfig(file, [], { onWarning: (message) => warnings.push(message) });
        expect(warnings).toEqual([]);
        expect(config.rollout.maxNewTokens).toBeLessThan(given.positions ?? Infinity);
        expect(new Set(lines.map(([key]) => key)).size).toBe(lines.length);
        for (const [key, value, why] of lines) {
          expect(why).not.toBe('');
          if (['data.train', 'data.validation', 'output', 'model'].includes(key)) continue;
          expect([key, valueAt(config, key)]).toEqual([key, value]);
        }
      }),
      { numRuns: 150 },
    );
  } finally {
    rmSync(folder, { recursive: true });
  }
});
