/** Whatever a model says, marks and metrics are finite numbers, in time linear in the text. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { Frame } from '../../types.ts';
import { box } from '../box/box.ts';
import { click } from '../click/click.ts';
import { orderOf, SUPERLINEAR } from '../../testing/growth.ts';
import type { Task } from '../task.ts';
import { grounding } from './grounding.ts';
import { sample, SQUARE } from './testkit.ts';

const WIDE: Frame = { width: 1920, height: 1080, modelWidth: 1000, modelHeight: 1000 };
const labels = [{ bbox_2d: [10, 20, 300, 400], point_2d: [50, 60] }];
const asked = { solution: JSON.stringify(labels) };

const tasks: Record<string, Task> = {
  grounding: grounding.create(grounding.parameters.parse({}), [sample(labels)]),
  visionreasoner: grounding.create(grounding.parameters.parse({ reward: 'visionreasoner' }), [sample(labels)]),
  'seg-zero': grounding.create(grounding.parameters.parse({ reward: 'seg-zero' }), [sample(labels)]),
  'vlm-r1': grounding.create(grounding.parameters.parse({ reward: 'vlm-r1' }), [sample(labels)]),
  box: box.create(box.parameters.parse({ points: false }), []),
  click: click.create(click.parameters.parse({}), []),
};

const number = fc.oneof(
  fc.integer({ min: -50, max: 2000 }).map(String),
  fc.constantFrom(
    '9'.repeat(161),
    `-${'8'.repeat(309)}`,
    '1e308',
    '-1e308',
    '1e999',
    '1e-320',
    '-0',
    '0.5',
    '"7"',
    'null',
  ),
  fc.double().map((value) => JSON.stringify(value)),
);
const numbers = (least: number, most: number) =>
  fc.array(number, { minLength: least, maxLength: most }).map((values) => `[${values.join(',')}]`);
const field = fc.oneof(
  { weight: 5, arbitrary: numbers(4, 4).map((values) => `"bbox_2d":${values}`) },
  { weight: 3, arbitrary: numbers(2, 2).map((values) => `"point_2d":${values}`) },
  { weight: 1, arbitrary: numbers(0, 5).map((values) => `"bbox_2d":${values}`) },
  { weight: 1, arbitrary: fc.constantFrom('"label":"car"', '"__proto__":[1,2,3,4]', '"label":null') },
);
const object = fc.array(field, { minLength: 1, maxLength: 3 }).map((fields) => `{${fields.join(',')}}`);
const json = fc.oneof(
  { weight: 8, arbitrary: fc.array(object, { maxLength: 4 }).map((objects) => `[${objects.join(', ')}]`) },
  { weight: 1, arbitrary: object },
  { weight: 1, arbitrary: fc.array(fc.constantFrom('[', ']', '{', '}', ',', '1', '"')).map((parts) => parts.join('')) },
);
const wrap = fc.constantFrom<[string, string]>(
  ['<answer>', '</answer>'],
  ['<think> so</think><answer>', '</answer>'],
  ['<think> so</think>\n<answer>\n```json\n', '\n```\n</answer>'],
  ['<answer>', ''],
);

const runs = 100_000;

describe.each(Object.entries(tasks))('%s', (_, task) => {
  const frames = [SQUARE, WIDE];
  const truth = task.parseTruth(sample(labels, asked));

  test(`${runs} answers: finite marks and metrics, no exception`, { timeout: 120_000 }, () => {
    const answer = fc.tuple(wrap, json).map(([[before, after], inside]) => before + inside + after);
    fc.assert(
      fc.property(answer, fc.constantFrom(...frames), (text, frame) => {
        const said = { text, stop: 'eos' } as const;
        const { boxes, points } = task.parse(text, [frame]);
        const values = [
          ...Object.values(task.terms(said, truth, [frame])),
          ...Object.values(task.evaluate(said, truth, [frame])).map(Number),
          ...Object.values(task.metrics([task.evaluate(said, truth, [frame])])),
          ...[...boxes, ...points].flat(),
        ];
        task.recognise(text);
        return values.every(Number.isFinite);
      }),
      { numRuns: runs, seed: 11 },
    );
  });

  test.each([
    ['thoughts', (n: number) => `<think>${'</think><answer>'.repeat(n / 16)}</answer>`],
    ['spaces', (n: number) => `<think>${'</think> '.repeat(n / 9)}<answer>[]</answer>`],
    ['blank', (n: number) => `<think></think>${' '.repeat(n)}<answer>[]</answer>x`],
    ['sentences', (n: number) => `<think>${'a. '.repeat(n / 3)}</think><answer>[]</answer>`],
    ['nested', (n: number) => `<answer>${'['.repeat(n)}</answer>`],
    ['digits', (n: number) => `<answer>[{"bbox_2d":[1,2,3,${'4'.repeat(n)}]}]</answer>`],
    ['objects', (n: number) => `<answer>[${'{"bbox_2d":[1,2,3,4]},'.repeat(n / 22)}{}]</answer>`],
  ])('time is linear in the length: %s', (_name, text) => {
    const read = (n: number): void => {
      const said = { text: text(n), stop: 'eos' } as const;
      task.terms(said, truth, [SQUARE]);
      task.evaluate(said, truth, [SQUARE]);
      task.recognise(said.text);
    };
    expect(orderOf(read, 1_000_000)).toBeLessThan(SUPERLINEAR);
  });
});

test('IoU is measured within the picture, distance as said', () => {
  const whole = sample([{ bbox_2d: [0, 0, 840, 840] }]);
  const task = grounding.create(grounding.parameters.parse({}), [whole]);
  const truth = task.parseTruth(whole, [SQUARE]);
  const said = { text: '<answer>[{"bbox_2d":[-500,-500,5000,5000]}]</answer>', stop: 'eos' } as const;
  expect(task.evaluate(said, truth, [SQUARE])).toMatchObject({ iou: 1 });
  expect(task.terms(said, truth, [SQUARE])).toMatchObject({ accuracy: 1.5 });
  const only = box.create(box.parameters.parse({}), [whole]);
  expect(only.evaluate(said, truth, [SQUARE])).toMatchObject({ iou: 1, hit: true });
});

test('the published pattern is the regular expression that it stands for', () => {
  const pattern = /^<think>.*?<\/think>\s*<answer>.*?<\/answer>$/s;
  const piece = fc.constantFrom('<think>', '</think>', '<answer>', '</answer>', ' ', '\n', 'a');
  const truth = tasks['visionreasoner']!.parseTruth(sample(labels, asked));
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 9 }), (pieces) => {
      const text = pieces.join('');
      const { thinking } = tasks['visionreasoner']!.terms({ text, stop: 'eos' }, truth, [SQUARE]);
      expect(thinking).toBe(Number(pattern.test(text)));
    }),
    { numRuns: 50_000, seed: 3 },
  );
});
