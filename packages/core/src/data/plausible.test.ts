import { expect, test } from 'vitest';
import type { Frame } from '../types.ts';
import { sample } from '../tasks/grounding/testkit.ts';
import { boxesIn, labelKind, Plausibility, type Boxed } from './plausible.ts';

const frameOf = (width: number, height: number): Frame => ({ width, height, modelWidth: width, modelHeight: height });

const boxed = (boxes: readonly (readonly number[])[], width = 640, height = 480): Boxed => {
  const each = sample(boxes.map((bbox_2d) => ({ bbox_2d })));
  return { sample: each, boxes: boxesIn(each), frame: frameOf(width, height) };
};
const found = (...all: Boxed[]) => {
  const plausibility = new Plausibility('a.jsonl');
  for (const each of all) plausibility.add(each);
  return plausibility.findings().map(({ kind, severity, message }) => `${kind} ${severity}: ${message}`);
};

test('boxes are read as they were written, with or without a list, and nothing else is', () => {
  expect(boxesIn({ solution: '{"bbox_2d":[1,2,3,4],"label":"car"}' })).toEqual([[1, 2, 3, 4]]);
  expect(boxesIn({ solution: '[{"bbox_2d":[1,2,3]},{"point_2d":[1,2]},7,null]' })).toEqual([]);
  expect(boxesIn({ solution: 'yes' })).toEqual([]);
});

test('shares of the picture are never taken for pixels', () => {
  expect(found(boxed([[0.1, 0.2, 0.5, 0.9]]), boxed([[0, 0, 1, 1]]))).toEqual([
    'units error: all 2 boxes lie within 0..1: shares of the picture? Boxes are in pixels of the original image',
  ]);
  // A box of one pixel may be meant.
  expect(found(boxed([[0, 0, 1, 1]]))[0]).toContain('units warning');
  expect(found(boxed([[0.1, 0.2, 0.5, 0.9]]), boxed([[10, 20, 30, 40]]))).toEqual([]);
  expect(found(boxed([]))).toEqual([]);
});

test('thousandths are suspected where images have room beyond 1000, or boxes lie beyond images', () => {
  const three = [
    [10, 20, 990, 400],
    [500, 600, 700, 1000],
    [1, 2, 3, 4],
  ];
  expect(found(boxed(three, 1920, 1080))[0]).toContain('units warning: all 3 boxes lie within 0..1000');
  expect(found(boxed(three, 640, 480))[0]).toContain('units warning: all 3 boxes lie within 0..1000');
  expect(found(boxed(three, 1000, 1000))).toEqual([]);
  expect(found(boxed([...three, [10, 20, 1500, 400]], 1920, 1080))).toEqual([]);
});

test('corner, width and height', () => {
  const wrong = [300, 200, 50, 60];
  expect(labelKind(boxed([wrong])).kind).toBe('xywh');
  expect(labelKind(boxed([wrong])).hint).toContain('[x0, y0, x1, y1]');
  expect(labelKind(boxed([[300, 200, 800, 900]])).kind).toBe('outside');
  expect(labelKind(boxed([[600, 200, 50, 60]])).kind).toBe('label');
  expect(found(boxed([wrong, [10, 20, 30, 40]]), boxed([[1, 2, 300, 400]]))[0]).toContain('xywh warning: all 3 boxes');
  expect(found(boxed([wrong, [10, 20, 600, 470]]), boxed([[1, 2, 300, 400]]))).toEqual([]);
});
