/** The grounding task as Seg-Zero and VLM-R1 have it: one object that is there, with their prompts, forms and rewards. */
import type { Sample } from '../../types.ts';
import { solutionFault } from '../fault.ts';
import type { Task } from '../task.ts';
import { nearlyRightAnswer } from './nearly.ts';
import type { Thresholds } from './parameters.ts';
import { parseSegZero, recogniseSegZero, segZeroForms, segZeroTerms } from './segzero.ts';
import { ANY_QUESTION, ONE_OBJECT, ONE_OBJECT_EXAMPLE, question } from './template.ts';
import type { GroundingTruth } from './truth.ts';
import { evaluateGrounding } from './metrics.ts';
import { thinkingFormat } from '../thinking.ts';
import { vlmR1Terms } from './vlmr1.ts';

type GroundingTask = Task<GroundingTruth>;

function onlyOne(sample: Sample, truth: GroundingTruth): GroundingTruth {
  if (truth.objects.length === 1) return truth;
  return solutionFault(
    sample,
    `the solution has ${truth.objects.length} objects, and this reward is of one`,
    'leave the sample out, or use another task.reward',
  );
}

export function segZeroTask(base: GroundingTask, thresholds: Thresholds): GroundingTask {
  const terms: GroundingTask['terms'] = ({ text }, truth, frames) => segZeroTerms(text, truth, frames[0]!, thresholds);
  return {
    ...base,
    template: ONE_OBJECT,
    variables: (problem) => ({ Question: question(problem), Answer: ONE_OBJECT_EXAMPLE }),
    parseTruth: (sample, frames) => onlyOne(sample, base.parseTruth(sample, frames)),
    schema: undefined,
    forms: segZeroForms,
    recognise: recogniseSegZero,
    parse: (text, frames) => parseSegZero(text, frames[0]!),
    terms,
    wrongButWellFormed(_, [frame]) {
      const { modelWidth: right, modelHeight: bottom } = frame!;
      const corner = {
        bbox: [right - 1, bottom - 1, right, bottom],
        points_1: [right, bottom],
        points_2: [right, bottom],
      };
      return `<think> wrong</think><answer>${JSON.stringify(corner)}</answer>`;
    },
    nearlyRight: (truth, frames) =>
      nearlyRightAnswer(truth, frames[0]!, segZeroForms[0]!, thresholds, (text) =>
        terms({ text, stop: 'eos' }, truth, frames),
      ),
    evaluate(answer, truth, frames) {
      const { wellFormed, boxes, points } = parseSegZero(answer.text, frames[0]!);
      const objects = boxes.map((box) => ({ box, point: points[0] }));
      const thinking = thinkingFormat(answer) === 1;
      return {
        ...evaluateGrounding(objects.length > 0 ? objects : undefined, truth, {
          points: true,
          thinking,
          frame: frames[0]!,
        }),
        wellFormed,
      };
    },
  };
}

export const vlmR1Task = (base: GroundingTask): GroundingTask => ({
  ...base,
  template: ANY_QUESTION,
  variables: (problem) => ({ Question: problem.trim() }),
  parseTruth: (sample, frames) => onlyOne(sample, base.parseTruth(sample, frames)),
  // Its mark for the format is of whole numbers.
  forms: base.forms.filter(({ name }) => name.includes('integer')),
  terms: ({ text }, truth, frames) => vlmR1Terms(text, truth, frames[0]!),
  wrongButWellFormed(_, [frame]) {
    const { modelWidth: right, modelHeight: bottom } = frame!;
    return `<think> wrong</think><answer>[{"bbox_2d":[${right - 1},${bottom - 1},${right},${bottom}]}]</answer>`;
  },
  // Between right and wrong there is every degree.
  nearlyRight: () => undefined,
});
