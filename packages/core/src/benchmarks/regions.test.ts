import { expect, test } from 'vitest';
import { iou } from '../tasks/grounding/geometry.ts';
import type { Box } from '../types.ts';
import { readPointing } from './answers.ts';
import type { Protocol } from './benchmark.ts';
import type { Mask } from '../masks/masks.ts';
import { PIXELS } from './predictions.ts';
import { reasonsegIou, reasonsegMask } from './reasonseg.ts';
import { markRegion, regionMetrics, type Region } from './regions.ts';

const row = (text: string): Mask => ({ width: text.length, height: 1, data: Uint8Array.from(text, Number) });

const answer = (...boxes: Box[]): string =>
  `<answer>${JSON.stringify(boxes.map((box) => ({ bbox_2d: box, point_2d: [0, 0] })))}</answer>`;

const region = (text: string, ignored?: number): Region => ({
  ...{ width: text.length, height: 1, ignored, mask: () => row(text) },
  boxes: /[1]/.test(text) || (ignored === undefined && text.includes('2')) ? [[0, 0, 1, 1]] : [],
});

const mark = (predicted: string, truth: string, none = false, protocol: Protocol = 'official', ignored?: number) =>
  markRegion(
    { text: none ? answer() : answer([0, 0, 1, 1]), frame: PIXELS, mask: row(predicted) },
    region(truth, ignored),
    protocol,
  );

const SAMPLES: [string, string, boolean?][] = [
  ['11110000', '11110000'],
  ['11110000', '00111100'],
  ['00000000', '11000000', true],
  ['00000000', '00000000', true],
  ['11100000', '00000000'],
  ['11111110', '11111111'],
  ['11000000', '11000000', true],
  ['00000000', '00000000'],
];
const marksOf = (protocol: Protocol, ...numbers: number[]) =>
  numbers.map((number) => {
    const [predicted, truth, none] = SAMPLES[number - 1]!;
    return mark(predicted, truth, none, protocol);
  });

test.each<[Protocol, number[], Record<string, number | null>]>([
  [
    'official',
    [1, 2, 3, 4, 5, 6],
    { gIoU: 53.472222, cIoU: 1300 / 23, nAcc: 50, tAcc: 75, pr70: 50, pr80: 50, pr90: 25 },
  ],
  [
    'official',
    [1, 2, 3, 4, 5, 6, 7, 8],
    { gIoU: 40.104167, cIoU: 52, nAcc: 100 / 3, tAcc: 60, pr70: 40, pr80: 40, pr90: 20 },
  ],
  ['official', [4], { gIoU: 100, cIoU: null, nAcc: 100, tAcc: null, pr70: null }],
  ['official', [5], { gIoU: 0, cIoU: 0, nAcc: 0, tAcc: null, pr70: null }],
  ['official', [1, 6], { nAcc: 0, tAcc: 0 }],
  ['visurf', [1, 2, 3, 4, 5, 6], { gIoU: 53.472222, nAcc: 50 }],
  ['visurf', [1, 2, 3, 4, 5, 6, 8], { gIoU: 45.833333, nAcc: 100 / 3 }],
  ['visurf', [4], { gIoU: 100, nAcc: 100 }],
  ['visurf', [5], { gIoU: 0, nAcc: 0 }],
])('metrics of ReLA and of ViSurf: %s %j', (protocol, samples, expected) => {
  const metrics = regionMetrics(marksOf(protocol, ...samples), protocol);
  for (const [name, value] of Object.entries(expected)) {
    if (value === null) expect([name, metrics[name]]).toEqual([name, null]);
    else expect(metrics[name], name).toBeCloseTo(value, 5);
  }
});

test.each([
  [[1, 2, 3, 4, 5, 6], 53.4721, 36.8056],
  [[4], 100, 0],
  [[5], 0, 0],
])("LISA's gIoU with its constants, and Seg-Zero's: %j", (samples, lisa, segZero) => {
  const marks = marksOf('official', ...samples);
  expect(reasonsegIou(marks, 'official').gIoU).toBeCloseTo(lisa, 2);
  const plain = marks.map(({ intersection, union, ...rest }) => ({
    ...rest,
    intersection,
    union,
    iou: union > 0 ? intersection / union : 0,
  }));
  expect(reasonsegIou(plain, 'visurf').gIoU).toBeCloseTo(segZero, 3);
});

test.each([
  ['10001110', '11002200', 1, 3, 3, 5],
  ['11000000', '22000000', 0, 0, 2, 2],
  ['00000000', '22000000', 0, 0, 0, 2],
])(
  'pixels to be ignored leave both sides, or are target: %s %s',
  (predicted, truth, intersection, union, all, allUnion) => {
    const none = !predicted.includes('1');
    expect(mark(predicted, truth, none, 'official', 2)).toMatchObject({ intersection, union });
    expect(mark(predicted, truth, false, 'visurf')).toMatchObject({ intersection: all, union: allUnion });
  },
);

test('ReasonSeg paints the largest polygon first', () => {
  const square = (label: string, low: number, high: number) => ({
    label,
    points: [
      [low, low],
      [high, low],
      [high, high],
      [low, high],
    ] as [number, number][],
  });
  const count = (shapes: ReturnType<typeof square>[], side = 5) => {
    const { data } = reasonsegMask(shapes, side, side);
    return [1, 2].map((value) => data.filter((each) => each === value).length);
  };
  expect(count([square('target', 1, 4)], 6)).toEqual([16, 0]);
  expect(count([square('target', 0, 3), square('Ignore this', 1, 2)])).toEqual([12, 4]);
  expect(count([square('ignore', 0, 3), square('rejected', 1, 2)])).toEqual([4, 12]);
  expect(count([square('target', 1.9, 3.9), square('flag', 0, 4)])).toEqual([9, 0]);
});

test.each<[Box, number]>([
  [[0, 0, 10, 10], 1],
  [[5, 5, 15, 15], 0.142857],
  [[0, 0, 10, 5], 0.5],
  [[10, 0, 20, 10], 0],
  [[9, 0, 19, 10], 0.052632],
  [[10, 10, 0, 0], 0],
])('IoU of %j with a square of 10', (box, expected) => {
  expect(iou(box, [0, 0, 10, 10])).toBeCloseTo(expected, 6);
});

test('a box hits above one half, or the hull of all boxes does', () => {
  const truth: Region = { width: 20, height: 20, boxes: [[0, 0, 10, 10]], mask: () => row('') };
  const hit = (...boxes: Box[]) => markRegion({ text: answer(...boxes), frame: PIXELS }, truth, 'visurf').boxHit;
  expect([hit([0, 0, 10, 5]), hit([0, 5, 10, 10]), hit([0, 0, 10, 5], [0, 5, 10, 10]), hit()]).toEqual([
    false,
    false,
    true,
    false,
  ]);
});

test('what cannot be read earns credit under visurf alone, and strict figures show it', () => {
  const absent: Region = { width: 8, height: 1, boxes: [], mask: () => row('00000000') };
  const present: Region = { ...absent, boxes: [[0, 0, 4, 1]] };
  const said = (text: string) => ({ text, frame: PIXELS });
  expect(markRegion(said('hm'), absent, 'official')).toMatchObject({
    none: false,
    iou: 0,
    boxHit: false,
    parsed: false,
  });
  const marks = [markRegion(said('hm'), absent, 'visurf')];
  expect(regionMetrics(marks, 'visurf')).toMatchObject({
    nAcc: 100,
    'nAcc.strict': 0,
    gIoU: 100,
    'gIoU.strict': 0,
    unparsable: 100,
  });
  const pointless = '<answer>[{"bbox_2d": [0, 0, 4, 1]}]</answer>';
  expect(markRegion(said(pointless), present, 'visurf')).toMatchObject({ iou: 0, strict: { iou: 1 } });
  expect(markRegion(said(pointless), present, 'official')).toMatchObject({ iou: 1, of: 'boxes' });
});

test('coordinates in whole pixels of the original picture', () => {
  const frame = { width: 1280, height: 720, modelWidth: 840, modelHeight: 840 };
  const text = '<answer>[{"bbox_2d": [10, 100, 200, 210], "point_2d": [30, 110]}]</answer>';
  expect(readPointing(text, frame, 'visurf')).toEqual({
    parsed: true,
    boxes: [[15, 86, 305, 180]],
    points: [[46, 94]],
  });
  const back = { width: 840, height: 840, modelWidth: 1280, modelHeight: 720 };
  expect(readPointing(answer([15, 86, 305, 180]), back, 'visurf').boxes).toEqual([[10, 100, 200, 210]]);
});
