/**
 * Clicking: one point in the control that a question describes, on a picture of a user interface.
 *
 * Answers are lists as in grounding, `[{"point_2d": [x, y]}]`; a box beside the point, or in its place, is accepted. The
 * metric is the published one: a question counts if any point lies in the true box, edges included; where an answer has
 * no points, the centres of its boxes stand for them. The reward differs: it is the share of the points that do, so that
 * many points are no way to hit.
 */
import { z } from 'zod';
import type { Box, Frame, Point, Sample, Terms } from '../../types.ts';
import { solutionFault } from '../fault.ts';
import { MAX_OBJECTS, parseAnswer } from '../grounding/answer.ts';
import { contains, toModel } from '../grounding/geometry.ts';
import { question } from '../grounding/template.ts';
import { parseTruth as parseBoxes } from '../grounding/truth.ts';
import { mean, percentages } from '../means.ts';
import { placesSchema } from '../schema.ts';
import type { Answer, Evaluation, Task, TaskDefinition } from '../task.ts';
import { answerBlock, thinkingFormat } from '../thinking.ts';
import { taggedTerms, termWeights, unsaidWeights } from '../weights.ts';
import { clickForms, recogniseClick } from './forms.ts';

export interface ClickTruth {
  /** Box of the control, in pixels of the original image. */
  readonly box: Box;
}

const TEMPLATE =
  'Please find "{Question}" and the point to click.' +
  'Output the thinking process in <think> </think> and final answer in <answer> </answer> tags.' +
  'Output the point inside the interested object in JSON format.' +
  'i.e., <think> thinking process here </think><answer>[{"point_2d": [30,110]}]</answer>';

const parameters = z.strictObject({ weights: termWeights });

export const click: TaskDefinition<typeof parameters, ClickTruth> = {
  name: 'click',
  parameters,
  unsaid: { weights: unsaidWeights },
  create: ({ weights }) => makeClick(weights),
};

interface Clicks {
  readonly points: readonly Point[];
  readonly boxes: readonly Box[];
  /** Every item of the answer, which has some, has a point. */
  readonly wellFormed: boolean;
}

/** Coordinates that grow beyond all numbers when they are scaled are nowhere. */
const isPlace = <T extends Point | Box>(coordinates: T | undefined): coordinates is T =>
  coordinates?.every(Number.isFinite) ?? false;

function readClicks(text: string, frame: Frame): Clicks {
  const objects = parseAnswer(text, frame) ?? [];
  const points = objects.flatMap(({ point }) => (isPlace(point) ? [point] : []));
  const wellFormed = objects.length > 0 && points.length === objects.length;
  const boxes = objects.flatMap(({ box }) => (isPlace(box) ? [box] : []));
  return { points, boxes, wellFormed };
}

/** Points of an answer, or the centres of its boxes in whole pixels. */
const hits = ({ points, boxes }: Clicks): readonly Point[] =>
  points.length > 0
    ? points
    : boxes.map(([x0, y0, x1, y1]) => [Math.trunc((x0 + x1) / 2), Math.trunc((y0 + y1) / 2)] as const);

interface ClickEvaluation extends Evaluation {
  readonly hit: boolean;
  readonly thinking: boolean;
  readonly wellFormed: boolean;
}

function makeClick(weights: Readonly<Record<string, number>>): Task<ClickTruth> {
  const terms: Task<ClickTruth>['terms'] = (answer, { box }, frames) => {
    const clicks = readClicks(answer.text, frames[0]!);
    const points = hits(clicks);
    const inside = points.filter((point) => contains(box, point)).length;
    return taggedTerms(answer, {
      format: Number(clicks.wellFormed),
      accuracy: points.length === 0 ? 0 : inside / points.length,
    });
  };
  return {
    name: 'click',
    template: TEMPLATE,
    variables: (problem) => ({ Question: question(problem) }),
    parseTruth: (sample, frames) => parseTruth(sample, frames?.[0]),
    schema: placesSchema(['point_2d'], MAX_OBJECTS),
    forms: clickForms,
    recognise: recogniseClick,
    parse: (text, frames) => readClicks(text, frames[0]!),
    terms,
    weights,
    thinkingTerm: 'thinking',
    accuracyTerm: 'accuracy',
    wrongButWellFormed: ({ box }, frames) => wrongClick(box, frames[0]!),
    nearlyRight: (truth, frames) =>
      nearlyRight(truth, frames[0]!, (text) => terms({ text, stop: 'eos' }, truth, frames)),
    evaluate: (answer, truth, frames) => evaluateClick(answer, truth, frames[0]!),
    metrics(evaluations) {
      const all = evaluations as readonly ClickEvaluation[];
      return percentages({
        accuracy: mean(all, ({ hit }) => hit),
        thinking: mean(all, ({ thinking }) => thinking),
        malformed: mean(all, ({ wellFormed }) => !wellFormed),
      });
    },
    lost: (truth, frames) => lostClick(truth, frames[0]!),
  };
}

/** A control so small that its centre, in whole coordinates of the model, lies beside it. */
function lostClick(truth: ClickTruth, frame: Frame): string | undefined {
  const label = clickForms[0]!.write(truth, [frame]);
  if (readClicks(label, frame).points.every((point) => contains(truth.box, point))) return undefined;
  return `the centre of the box ${JSON.stringify(truth.box)} is written ${answerBlock(label)}, which lies beside it`;
}

function parseTruth(sample: Sample, frame: Frame | undefined): ClickTruth {
  const { objects } = parseBoxes(sample, false, frame);
  const [object] = objects;
  if (object === undefined || objects.length > 1) {
    return solutionFault(
      sample,
      `a click needs the box of one control, the solution has ${objects.length}`,
      'write [{"bbox_2d": [x0, y0, x1, y1]}]',
    );
  }
  return { box: object.box };
}

/** A corner of the picture that the control does not reach, in the model's coordinates; a control that fills it is always hit. */
function corner(box: Box, { width, height, modelWidth, modelHeight }: Frame): Point {
  const corners = [0, 1].flatMap((right) => [0, 1].map((down) => [right, down] as const));
  const [x, y] = corners.find(([right, down]) => !contains(box, [right * width, down * height])) ?? [0, 0];
  return [x * modelWidth, y * modelHeight];
}

const written = (thought: string, ...points: readonly Point[]): string =>
  `<think> ${thought}</think><answer>[${points.map((point) => `{"point_2d":[${point.join(',')}]}`).join(',')}]</answer>`;

const wrongClick = (box: Box, frame: Frame): string => written('wrong', corner(box, frame));

/** A point in the control and one that is not. */
function nearlyRight({ box }: ClickTruth, frame: Frame, termsOf: (text: string) => Terms): string | undefined {
  const centre = toModel([(box[0] + box[2]) / 2, (box[1] + box[3]) / 2], frame);
  const text = written('nearly', centre, corner(box, frame));
  return termsOf(text)['accuracy'] === 0.5 ? text : undefined;
}

function evaluateClick(answer: Answer, { box }: ClickTruth, frame: Frame): ClickEvaluation {
  const clicks = readClicks(answer.text, frame);
  return {
    hit: hits(clicks).some((point) => contains(box, point)),
    thinking: thinkingFormat(answer) === 1,
    wellFormed: clicks.wellFormed,
  };
}
