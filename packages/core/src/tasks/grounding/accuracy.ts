/** The default reward terms of a grounding answer: answer format, 0 to 2, and accuracy, 0 to 3. */
import { munkres } from 'munkres';
import type { Frame } from '../../types.ts';
import type { PredictedObject } from './answer.ts';
import { boxDistance, clip, contains, iou, pointDistance } from './geometry.ts';
import type { Thresholds } from './parameters.ts';
import type { TrueObject } from './truth.ts';

const FULL_FORMAT = 2;
export const FULL_ACCURACY = 3;

/**
 * Mean over items of [bbox_2d has 4 numbers] + [point_2d has 2 numbers]; where points are not asked for,
 * [bbox_2d has 4 numbers] * 2. An empty list earns the full mark, an answer that is not a list 0.
 */
export function answerFormat(objects: readonly PredictedObject[] | undefined, points: boolean): number {
  if (objects === undefined) return 0;
  if (objects.length === 0) return FULL_FORMAT;
  const mark = ({ box, point }: PredictedObject): number =>
    points ? Number(box !== undefined) + Number(point !== undefined) : 2 * Number(box !== undefined);
  return objects.reduce((sum, object) => sum + mark(object), 0) / objects.length;
}

/**
 * Best one-to-one matching of predicted and true objects by `matchMark`, summed, divided by max(#predicted, #true).
 * Both empty: the full mark; exactly one empty, or an answer that is not a list: 0.
 * @param frame where overlaps are measured: what a predicted box covers beside the picture does not count against it
 */
export function accuracy(
  predicted: readonly PredictedObject[] | undefined,
  truth: readonly TrueObject[],
  thresholds: Thresholds,
  frame?: Frame,
): number {
  if (predicted === undefined) return 0;
  if (predicted.length === 0 && truth.length === 0) return FULL_ACCURACY;
  return (
    bestMatching(predicted, truth, (p, t) => matchMark(p, t, thresholds, frame)) /
    Math.max(predicted.length, truth.length)
  );
}

/** Largest sum of marks (at most 3 each) over one-to-one matchings, by the Hungarian method. */
export function bestMatching<P, T>(predicted: readonly P[], truth: readonly T[], mark: (p: P, t: T) => number): number {
  if (predicted.length === 0 || truth.length === 0) return 0;
  const costs = predicted.map((p) => truth.map((t) => FULL_ACCURACY - mark(p, t)));
  return munkres(costs).reduce((sum, [row, column]) => sum + FULL_ACCURACY - costs[row]![column]!, 0);
}

/**
 * Of one object, 0 to 3: [IoU > threshold] + [mean absolute box error < threshold] + [point distance < threshold and the point lies inside
 * the predicted box]; for a label without a point the first two, scaled to 3.
 */
export function matchMark(
  predicted: PredictedObject,
  truth: TrueObject,
  thresholds: Thresholds,
  frame: Frame | undefined,
): number {
  if (predicted.box === undefined) return 0;
  const visible = frame ? clip(predicted.box, frame) : predicted.box;
  const hits =
    Number(iou(visible, truth.box) > thresholds.iouThreshold) +
    Number(boxDistance(predicted.box, truth.box) < thresholds.boxError);
  if (truth.point === undefined) return (hits * FULL_ACCURACY) / 2;
  if (predicted.point === undefined || !contains(predicted.box, predicted.point)) return hits;
  return hits + Number(pointDistance(predicted.point, truth.point) < thresholds.pointError);
}
