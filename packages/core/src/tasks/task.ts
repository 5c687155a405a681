/**
 * What a task is: everything the system must know about one kind of question, as pure functions on plain data.
 *
 * A truth is what a label means, in pixels of the original image. A response is text in the coordinates of the model;
 * the frames of its prompt, one per image, relate the two.
 */
import type { z } from 'zod';
import type { AnswerSchema } from './schema.ts';
import type { Box, Frame, Point, Response, Sample, Samples, Terms } from '../types.ts';

/** What a task reads of a response. */
export type Answer = Pick<Response, 'text' | 'stop'>;

/** One of the equivalent ways to write an answer down. Every form of a truth parses back to the same answer. */
export interface SurfaceForm<Truth> {
  readonly name: string;
  /** The whole label as text, answer tags included, stop token not. */
  write(truth: Truth, frames: readonly Frame[]): string;
}

/** What a response points at, in pixels of the original image, or says in words, for records and drawings. */
export interface Prediction {
  readonly wellFormed: boolean;
  readonly boxes: readonly Box[];
  readonly points: readonly Point[];
  /** Of tasks that are answered in words. */
  readonly answer?: string | undefined;
}

/** What evaluation notes about one response; a task aggregates a list of them. */
export type Evaluation = Readonly<Record<string, number | boolean>>;

export interface Task<Truth = unknown> {
  readonly name: string;
  /** The user turn, with variables as `{Name}`. A dataset may bring its own. */
  readonly template: string;
  /** Values for the template's variables. */
  variables(problem: string): Readonly<Record<string, string>>;

  /**
   * Given the frames of the sample's images, a label that lies outside them is refused too.
   * @throws UserError that names the sample and says what is wrong with its solution
   */
  parseTruth(sample: Sample, frames?: readonly Frame[]): Truth;

  /**
   * Why the label, written in the model's coordinates, would not earn the full mark that it is the measure of; undefined
   * where it does. Tasks whose labels have no coordinates go without.
   */
  lost?(truth: Truth, frames: readonly Frame[]): string | undefined;

  /** Of what stands between the answer tags, in the model's coordinates; a text stands there as it is. Unset: none. */
  readonly schema?: AnswerSchema | undefined;

  /** The first is used where nothing is known about what the rollouts prefer. */
  readonly forms: readonly SurfaceForm<Truth>[];
  /** Name of the form that a well-formed response is written in; undefined where it is malformed or does not tell. */
  recognise(text: string): string | undefined;

  /** Reads model output: never throws. */
  parse(text: string, frames: readonly Frame[]): Prediction;

  /** Raw reward terms of a response. */
  terms(answer: Answer, truth: Truth, frames: readonly Frame[]): Terms;
  /** One weight for every term. */
  readonly weights: Readonly<Record<string, number>>;
  /** Name of the term that `eliminate` controls. */
  readonly thinkingTerm: string;
  /** Name of the term that `smooth` compares. */
  readonly accuracyTerm: string;

  /** A response with thinking and a well-formed answer that is as wrong as possible: the label must beat it. */
  wrongButWellFormed(truth: Truth, frames: readonly Frame[]): string;

  /**
   * A response with thinking and a well-formed answer that is as accurate as one can be without being right: some objects
   * right, a part of the mark missing. Undefined where an answer is either right or wrong.
   */
  nearlyRight(truth: Truth, frames: readonly Frame[]): string | undefined;

  evaluate(answer: Answer, truth: Truth, frames: readonly Frame[]): Evaluation;
  /** In percent. A metric that is undefined for these samples is absent. */
  metrics(evaluations: readonly Evaluation[]): Readonly<Record<string, number>>;
}

/** A task that a config can name: the schema of its parameters, and how to make it from them. */
export interface TaskDefinition<Schema extends z.ZodType = z.ZodType, Truth = unknown> {
  readonly name: string;
  readonly parameters: Schema;
  /**
   * Values that go without saying where results are kept: those under which everything is as it was before their parameter was
   * there, such as 0 for the weight of a new term. They never change: another default is said from then on. Unset: the
   * defaults, for tasks of plugins, whose content counts.
   */
  readonly unsaid?: z.input<Schema>;
  /**
   * Parameters with nothing left open: what one leaves to `auto` is read off the samples that the task is used on, and
   * weights are written out. What it returns reads back as itself. Unset: no parameter leaves anything open.
   */
  decide?(parameters: z.output<Schema>, samples: Samples): z.output<Schema>;
  /**
   * What a sample tells that `decide` and `create` look for: the first sample that tells a thing is all that is shown of many.
   * Unset: all are.
   */
  tells?(sample: Sample): string | undefined;
  /** @throws UserError where the parameters contradict each other, or the samples */
  create(parameters: z.output<Schema>, samples: Samples): Task<Truth>;
}
