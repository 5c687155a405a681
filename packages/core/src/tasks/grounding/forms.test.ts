import fc from 'fast-check';
import { expect, test } from 'vitest';
import { parseAnswer } from './answer.ts';
import { groundingForms, recogniseForm } from './forms.ts';
import { SQUARE, truths } from './testkit.ts';

test.each([true, false])('every form parses back to the same answer (points: %s)', (points) => {
  fc.assert(
    fc.property(truths(SQUARE, points), (truth) => {
      for (const form of groundingForms(points)) {
        expect(parseAnswer(form.write(truth, [SQUARE]), SQUARE)).toEqual(truth.objects);
      }
    }),
  );
});

test.each([true, false])('in another frame all forms parse back to one answer (points: %s)', (points) => {
  const frame = { width: 640, height: 427, modelWidth: 1000, modelHeight: 1000 };
  fc.assert(
    fc.property(truths(frame, points), (truth) => {
      const [first, ...others] = groundingForms(points).map((form) => parseAnswer(form.write(truth, [frame]), frame));
      for (const other of others) expect(other).toEqual(first);
      for (const [i, { box }] of truth.objects.entries()) {
        for (const [k, value] of first![i]!.box!.entries()) expect(Math.abs(value - box[k]!)).toBeLessThan(0.3201);
      }
    }),
    { numRuns: 30 },
  );
});

test.each([true, false])('every form is recognised as itself, whatever comes before it (points: %s)', (points) => {
  fc.assert(
    fc.property(
      truths(SQUARE, points).filter(({ objects }) => objects.length > 0),
      (truth) => {
        for (const form of groundingForms(points)) {
          expect(recogniseForm(`<think> a: b</think>${form.write(truth, [SQUARE])}`, points)).toBe(form.name);
        }
      },
    ),
  );
});

test('names are unique, and the first form is that of the published prompt', () => {
  for (const points of [true, false]) {
    const names = groundingForms(points).map(({ name }) => name);
    expect(new Set(names).size).toBe(names.length);
    expect(names).toHaveLength(points ? 36 : 18);
  }
  const [first] = groundingForms(false);
  const truth = { objects: [{ box: [10, 20, 30, 40] as const, point: undefined }] };
  expect(first!.write(truth, [SQUARE])).toBe('<answer>[{"bbox_2d": [10, 20, 30, 40]}]</answer>');
});

test('an empty list and spacing that no form has tell nothing', () => {
  expect(recogniseForm('<answer>[]</answer>', false)).toBeUndefined();
  expect(recogniseForm('<answer>[{"bbox_2d":[1, 2, 3, 4]}]</answer>', false)).toBeUndefined();
  expect(recogniseForm('[{"bbox_2d":[1,2,3,4]}]', false)).toBeUndefined();
});

test('malformed answers are not recognised', () => {
  expect(recogniseForm('<answer>[{"bbox_2d":[1,2,3]}]</answer>', false)).toBeUndefined();
  expect(recogniseForm('<answer>[{"bbox_2d":[1,2,3,4]}</answer>', false)).toBeUndefined();
  expect(recogniseForm('<answer>[{"bbox_2d":[1,2,3,4]}]</answer>', true)).toBeUndefined();
});
