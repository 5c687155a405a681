/** What evaluation reports about grounding with absent objects. */
import type { Frame } from '../../types.ts';
import { mean, percentages } from '../means.ts';
import type { Evaluation } from '../task.ts';
import type { PredictedObject } from './answer.ts';
import { isWellFormed } from './answer.ts';
import { clip, unionIou } from './geometry.ts';
import type { GroundingTruth } from './truth.ts';

export interface GroundingEvaluation extends Evaluation {
  /** The label has objects. */
  readonly present: boolean;
  /** The answer is a well-formed `[]`: what cannot be read is not a statement that nothing is there. */
  readonly saidEmpty: boolean;
  /**
   * IoU of what the predicted boxes cover of the picture together and what the true boxes cover together; without true boxes 1 if
   * the answer is a well-formed `[]`, else 0.
   */
  readonly iou: number;
  readonly wellFormed: boolean;
  readonly thinking: boolean;
}

export function evaluateGrounding(
  objects: readonly PredictedObject[] | undefined,
  truth: GroundingTruth,
  { points, thinking, frame }: { points: boolean; thinking: boolean; frame: Frame },
): GroundingEvaluation {
  const present = truth.objects.length > 0;
  const saidEmpty = objects?.length === 0;
  const boxes = (objects ?? []).flatMap(({ box }) => (box === undefined ? [] : [clip(box, frame)]));
  const covered = unionIou(
    boxes,
    truth.objects.map(({ box }) => box),
  );
  return {
    present,
    saidEmpty,
    iou: present ? covered : Number(saidEmpty),
    wellFormed: isWellFormed(objects, points),
    thinking,
  };
}

/**
 * In percent, over n samples of which some are present (have objects), the others absent:
 * - gIoU: mean IoU of all samples;
 * - presentIoU: mean IoU of the present ones;
 * - nAcc: share of the absent ones answered by a well-formed `[]`;
 * - falseEmpty: share of the present ones answered so;
 * - thinking: share of answers that kept the thinking format;
 * - malformed: share of answers that are not a list with the fields asked for.
 */
export function groundingMetrics(evaluations: readonly GroundingEvaluation[]): Readonly<Record<string, number>> {
  const present = evaluations.filter((sample) => sample.present);
  const absent = evaluations.filter((sample) => !sample.present);
  return percentages({
    gIoU: mean(evaluations, (sample) => sample.iou),
    presentIoU: mean(present, (sample) => sample.iou),
    nAcc: mean(absent, (sample) => sample.saidEmpty),
    falseEmpty: mean(present, (sample) => sample.saidEmpty),
    thinking: mean(evaluations, (sample) => sample.thinking),
    malformed: mean(evaluations, (sample) => !sample.wellFormed),
  });
}
