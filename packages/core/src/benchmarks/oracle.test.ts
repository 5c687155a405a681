/** Random cases, and what the reference libraries make of them (oracle/benchmarks.py). */
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { expect, test } from 'vitest';
import { rocAuc } from '../tasks/anomaly/auc.ts';
import type { Point } from '../types.ts';
import { countsOf, decodeRle, emptyMask, encodeRle, overlapOf } from '../masks/masks.ts';
import { writePenalty } from './omniact.ts';
import { addCocoPolygon, paintPolygon } from '../masks/polygons.ts';
import { popeMetrics } from './pope.ts';
import { documentAnls } from './texts.ts';

interface Cases {
  readonly run_lengths: [number, number, number[], string][];
  readonly overlaps: [number, number, string, string, number | null][];
  readonly coco_polygons: [number, number, number[], string][];
  readonly cv2_polygons: [number, number, Point[], string][];
  readonly areas: [number[], number[], number][];
  readonly verdicts: [number[], number[], number, number, number][];
  readonly similarities: [string, string[], number][];
  readonly sentences: [string, string, number][];
}

const file = path.resolve(import.meta.dirname, '../../../../oracle/fixtures/benchmarks.json');
const cases = JSON.parse(readFileSync(file, 'utf8')) as Cases;

test('run lengths as pycocotools writes them', () => {
  for (const [height, width, counts, text] of cases.run_lengths) {
    const mask = decodeRle({ size: [height, width], counts: text });
    expect(countsOf(mask)).toEqual(counts);
    expect(encodeRle(mask).counts).toBe(text);
  }
});

test('polygons as pycocotools fills them, and as OpenCV does', () => {
  for (const [height, width, polygon, text] of cases.coco_polygons) {
    const mask = emptyMask(width, height);
    addCocoPolygon(mask, polygon);
    expect(encodeRle(mask).counts, JSON.stringify([height, width, polygon])).toBe(text);
  }
  for (const [height, width, points, text] of cases.cv2_polygons) {
    const mask = emptyMask(width, height);
    paintPolygon(mask, points, 1);
    expect(encodeRle(mask).counts, JSON.stringify([height, width, points])).toBe(text);
  }
});

test('overlaps, areas under curves and F1 as scikit-learn computes them', () => {
  for (const [height, width, a, b, expected] of cases.overlaps) {
    const [own, other] = [a, b].map((counts) => decodeRle({ size: [height, width], counts }));
    const { intersection, union } = overlapOf(own!, other!);
    if (expected === null) expect(union).toBe(0);
    else expect(intersection / union).toBeCloseTo(expected, 11);
  }
  for (const [truth, scores, expected] of cases.areas) {
    expect(rocAuc(truth.map((each, i) => ({ positive: each === 1, score: scores[i]! })))).toBeCloseTo(expected, 12);
  }
  for (const [truth, said, ...expected] of cases.verdicts) {
    const { precision, recall, f1 } = popeMetrics(
      truth.map((each, i) => ({ present: each === 1, saysYes: said[i] === 1 })),
    );
    [precision, recall, f1].forEach((value, i) => expect(value).toBeCloseTo(100 * expected[i]!, 9));
  }
});

test('edit distances and BLEU as nltk computes them', () => {
  for (const [said, references, expected] of cases.similarities) {
    expect(documentAnls(said, references), JSON.stringify([said, references])).toBeCloseTo(expected, 12);
  }
  for (const [gold, said, bleu] of cases.sentences) {
    expect(writePenalty(gold, said), JSON.stringify([gold, said])).toBeCloseTo(1 - bleu, 12);
  }
});
