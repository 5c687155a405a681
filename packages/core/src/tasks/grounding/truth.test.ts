import { expect, test } from 'vitest';
import { UserError } from '../../errors.ts';
import { sample } from './testkit.ts';
import { parseTruth } from './truth.ts';

const box = { bbox_2d: [1, 2, 3, 4.5] };

test('reads boxes, points and the empty list', () => {
  expect(parseTruth(sample([]), false)).toEqual({ objects: [] });
  expect(parseTruth(sample([box]), false)).toEqual({ objects: [{ box: [1, 2, 3, 4.5], point: undefined }] });
  expect(parseTruth(sample([{ ...box, point_2d: [2, 3] }]), true).objects[0]?.point).toEqual([2, 3]);
  expect(parseTruth(sample([{ ...box, point_2d: [2, 3] }]), false).objects[0]?.point).toBeUndefined();
});

test('reads what Qwen writes: a label beside the box, one object without a list', () => {
  const expected = { objects: [{ box: [1, 2, 3, 4.5], point: undefined }] };
  expect(parseTruth(sample([{ ...box, label: 'car' }]), false)).toEqual(expected);
  expect(parseTruth(sample({ ...box, label: 'car' }), false)).toEqual(expected);
});

test.each<[unknown, string]>([
  ['red', 'not JSON'],
  ['{"box":[1,2,3,4]}', 'not a list'],
  [[{ ...box, label: 3 }], '"label" is not a text'],
  [[[1, 2, 3, 4]], 'object 1: it is not an object with "bbox_2d"'],
  [[box, { bbox: [1, 2, 3, 4] }], 'object 2: unknown field "bbox"'],
  [[{ bbox_2d: [1, 2, 3] }], 'object 1: "bbox_2d" is not four numbers'],
  [[{ bbox_2d: [1, 2, 3, null] }], '"bbox_2d" is not four numbers'],
  [[{ bbox_2d: [3, 2, 1, 4] }], 'the box [3,2,1,4] has no area'],
  [[{ bbox_2d: [-1, 2, 1, 4] }], 'negative coordinate'],
  [Array(121).fill(box), '121 objects'],
])('%j is refused', (solution, message) => {
  const parse = () => parseTruth(sample(solution), false);
  expect(parse).toThrow(UserError);
  expect(parse).toThrow(message);
  expect(parse).toThrow('train.jsonl:7 (s1)');
});

test('where labels have points, each object needs one', () => {
  expect(() => parseTruth(sample([box]), true)).toThrow('"point_2d" is missing');
  expect(() => parseTruth(sample([{ ...box, point_2d: [1] }]), true)).toThrow('"point_2d" is not two numbers');
});

test('with its frame, a label must lie inside the image', () => {
  const frame = { width: 3, height: 4, modelWidth: 28, modelHeight: 28 };
  const inside = { bbox_2d: [1, 2, 3, 4] };
  expect(parseTruth(sample([inside]), false, frame).objects).toHaveLength(1);
  expect(() => parseTruth(sample([inside, box]), false, frame)).toThrow('object 2: it reaches outside the image');
  expect(() => parseTruth(sample([{ ...inside, point_2d: [4, 3] }]), true, frame)).toThrow('3 x 4');
});

test('there must be exactly one image', () => {
  expect(() => parseTruth(sample([box], { images: [] }), false)).toThrow('exactly one image');
});
