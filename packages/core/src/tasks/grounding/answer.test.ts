import fc from 'fast-check';
import { expect, test } from 'vitest';
import { isWellFormed, MAX_OBJECTS, parseAnswer } from './answer.ts';
import { SQUARE } from './testkit.ts';

const parse = (json: string) => parseAnswer(`<answer>${json}</answer>`, SQUARE);

test('reads boxes and points in pixels of the original image', () => {
  const frame = { width: 1680, height: 420, modelWidth: 840, modelHeight: 840 };
  expect(parseAnswer('<think> a</think><answer>[{"bbox_2d":[10,20,30,40],"point_2d":[1,2]}]</answer>', frame)).toEqual([
    { box: [20, 10, 60, 20], point: [2, 1] },
  ]);
});

test('reads what Qwen writes: a label beside the box, one object without a list', () => {
  const expected = [{ box: [1, 2, 3, 4], point: undefined }];
  expect(parse('```json\n[{"bbox_2d": [1, 2, 3, 4], "label": "car"}]\n```')).toEqual(expected);
  expect(parse('{"label": "car", "bbox_2d": [1, 2, 3, 4]}')).toEqual(expected);
  expect(parse('{"point_2d": [1, 2]}')).toEqual([{ box: undefined, point: [1, 2] }]);
});

test.each([
  '',
  '[]',
  '<answer>[]',
  '<answer></answer>',
  '<answer>{}</answer>',
  '<answer>null</answer>',
  '<answer>[1,</answer>',
  `<answer>[${' '.repeat(40_000)}]</answer>`,
  `<answer>${JSON.stringify(Array(MAX_OBJECTS + 1).fill({ bbox_2d: [0, 0, 1, 1] }))}</answer>`,
  `<answer>${'['.repeat(30_000)}</answer>`,
])('what is not a list within the limits is malformed: %#', (text) => {
  expect(parseAnswer(text, SQUARE)).toBeUndefined();
  expect(isWellFormed(parseAnswer(text, SQUARE), false)).toBe(false);
});

test('items keep their place when a field is missing or has the wrong count of numbers', () => {
  const nothing = { box: undefined, point: undefined };
  expect(parse('[1, null, [], "bbox_2d", {}]')).toEqual(Array(5).fill(nothing));
  expect(parse('[{"bbox_2d":[1,2,3]},{"bbox_2d":[1,2,3,1e999]},{"bbox_2d":[1,2,3,"4"]}]')).toEqual(
    Array(3).fill(nothing),
  );
  expect(parse('[{"bbox_2d":[1,2,3,4],"point_2d":[1]}]')).toEqual([{ box: [1, 2, 3, 4], point: undefined }]);
});

test('well-formed: every item has the fields that are asked for', () => {
  expect(isWellFormed(parse('[]'), true)).toBe(true);
  expect(isWellFormed(parse('[{"bbox_2d":[1,2,3,4]}]'), false)).toBe(true);
  expect(isWellFormed(parse('[{"bbox_2d":[1,2,3,4]}]'), true)).toBe(false);
  expect(isWellFormed(parse('[{"bbox_2d":[1,2,3,4]},{}]'), false)).toBe(false);
});

test('the first answer block counts, with or without a fence', () => {
  expect(parseAnswer('<answer>[]</answer><answer>oops</answer>', SQUARE)).toEqual([]);
  expect(parse('\n```json\n[]\n```\n')).toEqual([]);
  expect(parse('```[]```')).toEqual([]);
});

test('never throws on what a model may say', () => {
  const piece = fc.constantFrom(
    '<think>',
    '</think>',
    '<answer>',
    '</answer>',
    '{"bbox_2d":[',
    '{"point_2d":',
    ']}',
    '[',
    ']',
    ',',
    '1',
    '-0.5',
    '1e400',
    'null',
    '"',
    '```json',
    '```',
    ' ',
    '\n',
    '{"__proto__":[1,2,3,4]}',
    '\u0000',
    'é',
  );
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 40 }), (pieces) => {
      for (const { box, point } of parseAnswer(pieces.join(''), SQUARE) ?? []) {
        expect([...(box ?? []), ...(point ?? [])].every(Number.isFinite)).toBe(true);
      }
    }),
    { numRuns: 500 },
  );
});
