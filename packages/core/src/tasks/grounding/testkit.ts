/** Samples and arbitraries for the tests of the grounding task. */
import fc from 'fast-check';
import type { Frame, Sample } from '../../types.ts';
import type { GroundingTruth } from './truth.ts';

/** An image whose pixels are the model's coordinates. */
export const SQUARE: Frame = { width: 840, height: 840, modelWidth: 840, modelHeight: 840 };

export function sample(solution: unknown, changes: Partial<Sample> = {}): Sample {
  return {
    id: 's1',
    images: ['/images/1.png'],
    problem: 'red circle',
    solution: typeof solution === 'string' ? solution : JSON.stringify(solution),
    task: 'grounding',
    extra: {},
    source: { file: 'train.jsonl', line: 7 },
    ...changes,
  };
}

const span = (limit: number) =>
  fc
    .tuple(fc.integer({ min: 0, max: limit - 1 }), fc.integer({ min: 1, max: limit }))
    .map(([start, length]): [number, number] => [Math.min(start, limit - 1), Math.min(limit, start + length)]);

/** Truths with whole coordinates inside a frame, empty ones included. */
export function truths(frame: Frame, points: boolean): fc.Arbitrary<GroundingTruth> {
  const object = fc.tuple(span(frame.width), span(frame.height)).map(([[x0, x1], [y0, y1]]) => ({
    box: [x0, y0, x1, y1] as const,
    point: points ? ([x0, y1] as const) : undefined,
  }));
  return fc.array(object, { maxLength: 5 }).map((objects) => ({ objects }));
}
