import { expect, test } from 'vitest';
import type { Box, Frame, Point } from '../../types.ts';
import { grounding } from './grounding.ts';
import { SQUARE } from './testkit.ts';

const OTHER: Frame = { width: 640, height: 427, modelWidth: 1000, modelHeight: 1000 };

/** What the nearly right answer earns of three marks, and what it says; undefined where there is none. */
function nearly(boxes: readonly Box[], points: boolean, frame = SQUARE) {
  const task = grounding.create(grounding.parameters.parse({ points }), []);
  const centre = ([x0, y0, x1, y1]: Box): Point => [(x0 + x1) / 2, (y0 + y1) / 2];
  const truth = { objects: boxes.map((box) => ({ box, point: points ? centre(box) : undefined })) };
  const text = task.nearlyRight(truth, [frame]);
  if (text === undefined) return undefined;
  const { accuracy, format, thinking } = task.terms({ text, stop: 'eos' }, truth, [frame]);
  expect([thinking, format]).toEqual([1, 2]);
  return { accuracy, objects: task.parse(text, [frame]).boxes.length };
}

const boxes = [0, 200, 400].map((x): Box => [x, x, x + 150, x + 150]);

test('one mark of one object is missing: the point, or else the exactness of the box', () => {
  expect(nearly(boxes.slice(0, 1), true)).toEqual({ accuracy: 2, objects: 1 });
  expect(nearly(boxes.slice(0, 1), false)).toEqual({ accuracy: 1.5, objects: 1 });
  expect(nearly(boxes, true)!.accuracy).toBeCloseTo(3 - 1 / 3, 12);
  expect(nearly(boxes, false)).toEqual({ accuracy: 2.5, objects: 3 });
  const inside = boxes.map(([x0, y0]): Box => [x0 / 2, y0 / 2, x0 / 2 + 90, y0 / 2 + 90]);
  expect(nearly(inside, false, OTHER)).toEqual({ accuracy: 2.5, objects: 3 });
});

test('where boxes are too small to be inexact, an object is one too many or missing', () => {
  const tiny = boxes.map(([x0, y0]): Box => [x0 + 20, y0 + 20, x0 + 24, y0 + 24]);
  expect(nearly(tiny, false)).toEqual({ accuracy: (3 * 3) / 4, objects: 4 });
  expect(nearly(tiny.slice(0, 1), false)).toEqual({ accuracy: 1.5, objects: 2 });
});

test('nothing is nearly nothing', () => {
  expect(nearly([], false)).toBeUndefined();
  expect(nearly([], true)).toBeUndefined();
});

test('many objects are matched in time that is not exponential in their number', () => {
  const many = Array.from({ length: 100 }, (_, i): Box => [8 * i, 0, 8 * i + 7, 400]);
  expect(nearly(many, true)!.accuracy).toBeCloseTo(3 - 1 / 100, 12);
});
