/** Questions about pictures, asked as the model was trained, answered in pixels of the pictures. */
import { PolicyThread } from './answers/policy-thread.ts';
import { queueOf, type AskOptions, type Answered, type OnPiece } from './answers/queue.ts';
import { invariant } from './errors.ts';
import type { Policy } from './policy.ts';
import type { PromptInput } from './prompt/messages.ts';
import type { ImageSource } from './prompt/template.ts';
import { Experiment } from './question/experiment.ts';
import type { Sampling } from './rollout/sampler.ts';
import type { Box, Frame, Point, StopReason } from './types.ts';

export interface PredictInput {
  readonly problem: string;
  /** Paths, or what image files hold. */
  readonly images: readonly ImageSource[];
  /** Of several that the model was trained on; unset: that of samples which name none. */
  readonly task?: string | undefined;
  /** Template of the user turn, where the experiment has none. */
  readonly prompt?: string | undefined;
}

export interface PredictOptions extends Partial<Sampling> {
  readonly maxNewTokens?: number | undefined;
  readonly seed?: number | undefined;
  readonly signal?: AbortSignal | undefined;
  /** How questions are put and answers read; unset: as the model carries it. */
  readonly experiment?: Experiment | undefined;
  /** Hears what is said while it is. */
  readonly onText?: ((text: string) => void) | undefined;
}

/** Boxes and points are in pixels of the picture as a viewer shows it (EXIF applied). */
export interface Predicted {
  /** All that was said, thoughts included. */
  readonly text: string;
  readonly boxes: readonly Box[];
  readonly points: readonly Point[];
  /** Of tasks that are answered in words. */
  readonly answer?: string;
  /** Why it ended: `length` where it was cut off. */
  readonly stop: StopReason;
}

/** Whoever has a model to ask: in this thread, or in one of its own. */
export type Answering = Policy | PolicyThread;

/** Asks a model; questions that are asked at the same time are answered together. */
export const askPolicy = (
  policy: Answering,
  input: PromptInput,
  options?: AskOptions,
  onPiece?: OnPiece,
): Promise<Answered> =>
  policy instanceof PolicyThread ? policy.ask(input, options, onPiece) : queueOf(policy).ask(input, options, onPiece);

const experiments = new WeakMap<Answering, Experiment>();

/** The experiment that a model carries: without one, that of a model which was never trained. */
export function experimentOf(policy: Answering): Experiment {
  const experiment = experiments.get(policy) ?? Experiment.open(policy.settings ?? {});
  experiments.set(policy, experiment);
  return experiment;
}

/**
 * Answers a question as training asked it: with its template, its system message, its limits. Questions that are asked at
 * the same time, with `Promise.all`, are answered together.
 * @throws UserError for an image that cannot be used, or a task that the model does not know
 * @example
 * using policy = await loadPolicy('runs/cars');
 * const { boxes } = await predict(policy, { problem: 'the red car', images: ['street.jpg'] });
 */
export async function predict(
  policy: Answering,
  { problem, images, task, prompt }: PredictInput,
  options: PredictOptions = {},
): Promise<Predicted> {
  const { experiment = experimentOf(policy), onText, ...asked } = options;
  const { system, maxNewTokens, maxPromptTokens } = experiment.settings;
  const turn = experiment.userTurn(problem, { ...(task !== undefined && { task }), ...(prompt !== undefined && { prompt }) }); // prettier-ignore
  const input = { problem: turn, images, system, places: true };
  const onPiece: OnPiece | undefined = onText && ((_, { text }) => onText(text));
  const { answers, frames } = await askPolicy(policy, input, { maxPromptTokens, maxNewTokens, ...asked }, onPiece);
  const [said] = answers;
  invariant(said && said.stop !== 'stop', 'no stop strings were given');
  return { ...readAnswer(experiment, said.text, frames, task), text: said.text, stop: said.stop };
}

/** What an answer without a picture is read with, and points at nothing. */
const NOWHERE: Frame = { width: 1, height: 1, modelWidth: 1, modelHeight: 1 };

/** What an answer points at, or says in words. A question without a picture has no places. */
export function readAnswer(
  experiment: Experiment,
  text: string,
  frames: readonly Frame[],
  task?: string,
): Pick<Predicted, 'boxes' | 'points' | 'answer'> {
  const isBlind = frames.length === 0;
  const { boxes, points, answer } = experiment.taskOf(task).parse(text, isBlind ? [NOWHERE] : frames);
  return { ...(isBlind ? { boxes: [], points: [] } : { boxes, points }), ...(answer !== undefined && { answer }) };
}
