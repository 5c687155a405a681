/**
 * One box of one thing that is always there, such as a lesion: the grounding task with the metric of box accuracy. An
 * answer counts if the IoU of any of its boxes with the true one is above 0.5, or that of the hull of them all (published
 * rule).
 */
import type { Sample } from '../../types.ts';
import { solutionFault } from '../fault.ts';
import { clip, hull, iou } from '../grounding/geometry.ts';
import { grounding } from '../grounding/grounding.ts';
import { groundingParameters, unsaidOfGrounding } from '../grounding/parameters.ts';
import type { GroundingTruth } from '../grounding/truth.ts';
import { mean, percentages } from '../means.ts';
import type { Evaluation, Task, TaskDefinition } from '../task.ts';
import { thinkingFormat } from '../thinking.ts';

export const box: TaskDefinition<typeof groundingParameters, GroundingTruth> = {
  name: 'box',
  parameters: groundingParameters,
  unsaid: unsaidOfGrounding,
  decide: (parameters, samples) => grounding.decide!(parameters, samples),
  tells: (sample) => grounding.tells!(sample),
  create: (parameters, samples) => makeBox(grounding.create(parameters, samples)),
};

const HIT = 0.5;

interface BoxEvaluation extends Evaluation {
  readonly hit: boolean;
  /** Best IoU of a predicted box. */
  readonly iou: number;
  readonly thinking: boolean;
  readonly wellFormed: boolean;
}

function makeBox(base: Task<GroundingTruth>): Task<GroundingTruth> {
  return {
    ...base,
    name: 'box',
    parseTruth: (sample, frames) => onlyOne(sample, base.parseTruth(sample, frames)),
    evaluate(answer, { objects }, frames): BoxEvaluation {
      const truth = objects[0]!.box;
      const { wellFormed, boxes: said } = base.parse(answer.text, frames);
      // What they cover of the picture.
      const boxes = said.map((predicted) => clip(predicted, frames[0]!));
      const best = Math.max(0, ...boxes.map((predicted) => iou(predicted, truth)));
      return {
        hit: best > HIT || (boxes.length > 0 && iou(hull(boxes), truth) > HIT),
        iou: best,
        thinking: thinkingFormat(answer) === 1,
        wellFormed: boxes.length > 0 && wellFormed,
      };
    },
    metrics(evaluations) {
      const all = evaluations as readonly BoxEvaluation[];
      return percentages({
        boxAccuracy: mean(all, ({ hit }) => hit),
        iou: mean(all, (each) => each.iou),
        thinking: mean(all, ({ thinking }) => thinking),
        malformed: mean(all, ({ wellFormed }) => !wellFormed),
      });
    },
  };
}

function onlyOne(sample: Sample, truth: GroundingTruth): GroundingTruth {
  if (truth.objects.length === 1) return truth;
  return solutionFault(
    sample,
    `the solution has ${truth.objects.length} objects instead of one`,
    'write [{"bbox_2d": [x0, y0, x1, y1]}], or use the grounding task',
  );
}
