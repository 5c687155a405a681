/** Grounding with absent objects: boxes (and points, where labels have them) of what a question describes, `[]` for nothing. */
import { UserError } from '../../errors.ts';
import type { Frame, Sample, Samples, Terms } from '../../types.ts';
import type { Answer, Task, TaskDefinition } from '../task.ts';
import { nonRepeat, thinkingFormat } from '../thinking.ts';
import { beforeAnswer } from '../weights.ts';
import { accuracy, answerFormat } from './accuracy.ts';
import { isWellFormed, MAX_OBJECTS, parseAnswer } from './answer.ts';
import { groundingForms, recogniseForm } from './forms.ts';
import { evaluateGrounding, groundingMetrics, type GroundingEvaluation } from './metrics.ts';
import { nearlyRightAnswer } from './nearly.ts';
import { DEFAULT_WEIGHTS, groundingParameters, unsaidOfGrounding, type GroundingParameters } from './parameters.ts';
import { segZeroTask, vlmR1Task } from './oneobject.ts';
import { lostObject } from './survival.ts';
import { BOXES_AND_POINTS, BOXES_ONLY, exampleAnswer, question } from './template.ts';
import { placesSchema } from '../schema.ts';
import { parseTruth, type GroundingTruth } from './truth.ts';
import { visionReasonerTerms } from './visionreasoner.ts';
import { wrongAnswer } from './wrong.ts';

export const grounding: TaskDefinition<typeof groundingParameters, GroundingTruth> = {
  name: 'grounding',
  parameters: groundingParameters,
  unsaid: unsaidOfGrounding,
  decide,
  tells,
  create(parameters, samples) {
    requireMasks(parameters, samples);
    return withReward(createGrounding(decide(parameters, samples)), parameters);
  },
};

function withReward(task: Task<GroundingTruth>, parameters: GroundingParameters): Task<GroundingTruth> {
  if (parameters.reward === 'seg-zero') return segZeroTask(task, parameters);
  return parameters.reward === 'vlm-r1' ? vlmR1Task(task) : task;
}

/** Before anything is drawn. @throws UserError that names the first sample without a mask that needs one */
function requireMasks({ masks, weights }: GroundingParameters, samples: Samples): void {
  if (masks === 'none' && weights.mask !== undefined) {
    throw new UserError('weights.mask is of masks, and none are drawn', { remedy: 'set task.masks=sam2' });
  }
  if (masks === 'none') return;
  const [without] = samples.filter(lacksMask);
  if (without === undefined) return;
  const { source, id } = without;
  throw new UserError('the sample has no "mask" to compare with', {
    where: `${source.file}:${source.line} (${id})`,
    remedy: 'write COCO run lengths or polygons as "mask", or leave out task.masks',
  });
}

/** Parameters as `decide` leaves them. */
type Decided = GroundingParameters & {
  readonly points: boolean;
  readonly weights: Record<'thinking' | 'format' | 'accuracy' | 'nonRepeat', number> & { readonly mask?: number };
};

function decide(parameters: GroundingParameters, samples: Samples): Decided {
  const { points, reward } = parameters;
  const auto = reward !== 'vlm-r1' && samples.some(hasPoint);
  return {
    ...parameters,
    points: points === 'auto' ? auto : points,
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
    ...(weights.mask !== undefined && { mask: weights.mask }),
  };
}

function createGrounding(parameters: Decided): Task<GroundingTruth> {
  const { points, reward } = parameters;
  const { mask: _, ...weights } = parameters.weights;
  if ((reward === 'visionreasoner' || reward === 'seg-zero') && !points) {
    throw new UserError(`the reward ${reward} needs labels with points, these have none`, {
      remedy: 'use task.reward=default, or add "point_2d" to the labels',
    });
  }
  if (reward === 'vlm-r1' && points) {
    throw new UserError('the reward vlm-r1 is of boxes alone', { remedy: 'leave out task.points' });
  }
  const terms = (answer: Answer, truth: GroundingTruth, frames: readonly Frame[]): Terms => {
    const frame = frames[0]!;
    if (reward === 'visionreasoner') return visionReasonerTerms(answer.text, truth, frame, parameters);
    const objects = parseAnswer(answer.text, frame);
    return {
      thinking: thinkingFormat(answer),
      format: answerFormat(objects, points),
      accuracy: accuracy(objects, truth.objects, parameters, frame),
      nonRepeat: nonRepeat(beforeAnswer(answer.text)),
    };
  };
  // The published reward reads no fences.
  const forms = groundingForms(points).filter(({ name }) => reward !== 'visionreasoner' || !name.endsWith('fence'));
  return {
    name: 'grounding',
    template: points ? BOXES_AND_POINTS : BOXES_ONLY,
    variables: (problem) => ({ Question: question(problem), Answer: exampleAnswer(points) }),
    parseTruth: (sample, frames) => parseTruth(sample, points, frames?.[0]),
    schema: placesSchema(points ? ['bbox_2d', 'point_2d'] : ['bbox_2d'], MAX_OBJECTS),
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
    weights,
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
function hasPoint({ solution }: Sample): boolean {
  return solution.includes('"point_2d"');
}

/** Whether an object is to have a mask, and has none. */
function lacksMask({ solution, extra }: Sample): boolean {
  return extra['mask'] === undefined && solution.trim() !== '[]';
}

function tells(sample: Sample): string | undefined {
  const told = [...(hasPoint(sample) ? ['point'] : []), ...(lacksMask(sample) ? ['no mask'] : [])];
  return told.length === 0 ? undefined : told.join();
}
