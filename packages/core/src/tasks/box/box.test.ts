import { expect, test } from 'vitest';
import { sample, SQUARE } from '../grounding/testkit.ts';
import { box } from './box.ts';

const task = box.create(box.parameters.parse({}), []);
const truth = task.parseTruth(sample([{ bbox_2d: [0, 0, 10, 10] }]));
const ask = (...boxes: number[][]) => {
  const text = `<think> a</think><answer>${JSON.stringify(boxes.map((bbox_2d) => ({ bbox_2d })))}</answer>`;
  return task.evaluate({ text, stop: 'eos' }, truth, [SQUARE]);
};

test.each<[string, number[][], boolean, number]>([
  ['the same', [[0, 0, 10, 10]], true, 1],
  ['exactly half is no hit', [[0, 0, 10, 5]], false, 0.5],
  [
    'two halves have the hull of the whole',
    [
      [0, 0, 10, 5],
      [0, 5, 10, 10],
    ],
    true,
    0.5,
  ],
  [
    'any of several',
    [
      [50, 50, 60, 60],
      [0, 0, 10, 9],
    ],
    true,
    0.9,
  ],
  ['shifted', [[5, 5, 15, 15]], false, 25 / 175],
  ['none', [], false, 0],
])('%s', (_, boxes, hit, iou) => {
  const evaluation = ask(...boxes);
  expect(evaluation.hit).toBe(hit);
  expect(evaluation.iou).toBeCloseTo(iou, 12);
});

test('metrics in percent', () => {
  const metrics = task.metrics([ask([0, 0, 10, 10]), ask([0, 0, 10, 5]), ask()]);
  expect(metrics.boxAccuracy).toBeCloseTo(100 / 3, 10);
  expect(metrics).toMatchObject({ iou: 50, thinking: 100 });
  expect(metrics.malformed).toBeCloseTo(100 / 3, 10);
});
