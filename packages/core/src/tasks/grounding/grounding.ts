/** Grounding with absent objects: boxes (and points, where labels have them) of what a question describes, `[]` for nothing. */
import { UserError } from '../../errors.ts';
import type { Frame, Sample, Samples, Terms } from '../../types.ts';
import type { Answer, Task, TaskDefinition } from '../task.ts';
import { nonRepeat, thinkingFormat } from '../thinking.ts';
import { beforeAnswer } from '../weights.ts';
import { accuracy, answerFormat } from './accuracy.ts';
import { isWellFormed, parseAnswer } from './answer.ts';
import { groundingForms, recogniseForm } from './forms.ts';
import { evaluateGrounding, groundingMetrics, type GroundingEvaluation } from './metrics.ts';
import { nearlyRightAnswer } from './nearly.ts';
import { DEFAULT_WEIGHTS, groundingParameters, type GroundingParameters } from './parameters.ts';
import { publishedTerms } from './published.ts';
import { lostObject } from './survival.ts';
import { BOXES_AND_POINTS, BOXES_ONLY, exampleAnswer, question } from './template.ts';
import { parseTruth, type GroundingTruth } from './truth.ts';
import { wrongAnswer } from './wrong.ts';

export const grounding: TaskDefinition<typeof groundingParameters, GroundingTruth> = {
  name: 'grounding',
  parameters: groundingParameters,
  decide,
  tells,
  create: (parameters, samples) => createGrounding(decide(parameters, samples)),
};

/** Parameters as `decide` leaves them. */
type Decided = GroundingParameters & {
  readonly points: boolean;
  readonly weights: Record<'thinking' | 'format' | 'accuracy' | 'nonRepeat', number>;
};

function decide(parameters: GroundingParameters, samples: Samples): Decided {
  const { points } = parameters;
  return {
    ...parameters,
    points: points === 'auto' ? samples.some(tells) : points,
    weights: weightsOf(parameters),
  };
}

function weightsOf({ reward, weights }: GroundingParameters): Decided['weights'] {
  const defaults = DEFAULT_WEIGHTS[reward];
  return {
    thinking: weights.thinking ?? defaults.thinking,
    format: weights.format ?? defaults.format,
    accuracy: weights.accuracy ?? defaults.accuracy,
    nonRepeat: weights.nonRepeat ?? defaults.nonRepeat,
  };
}

function createGrounding(parameters: Decided): Task<GroundingTruth> {
  const { points } = parameters;
  if (parameters.reward === 'published' && !points) {
    throw new UserError('the published grounding reward needs labels with points, these have none', {
      remedy: 'use task.reward=default, or add "point_2d" to the labels',
    });
  }
  const terms = (answer: Answer, truth: GroundingTruth, frames: readonly Frame[]): Terms => {
    const frame = frames[0]!;
    if (parameters.reward === 'published') return publishedTerms(answer.text, truth, frame, parameters);
    const objects = parseAnswer(answer.text, frame);
    return {
      thinking: thinkingFormat(answer),
      format: answerFormat(objects, points),
      accuracy: accuracy(objects, truth.objects, parameters, frame),
      nonRepeat: nonRepeat(beforeAnswer(answer.text)),
    };
  };
  const forms = groundingForms(points);
  return {
    name: 'grounding',
    template: points ? BOXES_AND_POINTS : BOXES_ONLY,
    variables: (problem) => ({ Question: question(problem), Answer: exampleAnswer(points) }),
    parseTruth: (sample, frames) => parseTruth(sample, points, frames?.[0]),
    forms,
    recognise: (text) => recogniseForm(text, points),
    parse(text, frames) {
      const objects = parseAnswer(text, frames[0]!);
      return {
        wellFormed: isWellFormed(objects, points),
        boxes: (objects ?? []).flatMap(({ box }) => (box === undefined ? [] : [box])),
        points: (objects ?? []).flatMap(({ point }) => (point === undefined ? [] : [point])),
      };
    },
    terms,
    weights: parameters.weights,
    thinkingTerm: 'thinking',
    accuracyTerm: 'accuracy',
    wrongButWellFormed: (truth, frames) =>
      wrongAnswer(frames[0]!, points, (text) => terms({ text, stop: 'eos' }, truth, frames)),
    nearlyRight: (truth, frames) =>
      nearlyRightAnswer(truth, frames[0]!, forms[0]!, parameters, (text) =>
        terms({ text, stop: 'eos' }, truth, frames),
      ),
    evaluate: (answer, truth, frames) =>
      evaluateGrounding(parseAnswer(answer.text, frames[0]!), truth, {
        points,
        thinking: thinkingFormat(answer) === 1,
        frame: frames[0]!,
      }),
    metrics: (evaluations) => groundingMetrics(evaluations as readonly GroundingEvaluation[]),
    lost: ({ objects }, frames) => lostObject(objects, parameters, frames[0]!),
  };
}

/** Labels that do not parse are reported by `parseTruth`; here it is enough to look for the key. */
function tells({ solution }: Sample): boolean {
  return solution.includes('"point_2d"');
}
