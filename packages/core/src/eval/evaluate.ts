/** Greedy answers to held-out questions, and the task's metrics over them. */
import path from 'node:path';

import { evaluatedTogether } from '../budgets.ts';
import { alone, share, whole, type Processes } from '../distributed/processes.ts';
import { makeDirectory, replaceFile } from '../disk/durable.ts';
import type { SamplingOptions } from '../rollout/respond.ts';
import { greedy } from '../rollout/sampler.ts';
import type { Encodes } from '../question/ask.ts';
import type { Experiment } from '../question/experiment.ts';
import { scorerOf, type Subject } from '../reward/reward.ts';
import type { Prompt, Response, Rollout, Sample, Samples } from '../types.ts';
import { evaluateAnswers, summariseSets, type EvaluatedResponse } from './summary.ts';

export interface EvaluatedSample extends EvaluatedResponse {
  readonly sample: Sample;
  readonly response: Pick<Response, 'text' | 'stop'>;
  /** What the response points at, in pixels of the original image. */
  readonly boxes: readonly (readonly number[])[];
  readonly points: readonly (readonly number[])[];
  /** What was asked, for the record. */
  readonly subject: Omit<Subject, 'sample'> & { readonly rendered: string };
}

export interface EvaluationResult {
  /** In percent, by the task, of several sets by `SET.METRIC`; and the mean reward. */
  readonly metrics: Readonly<Record<string, number>>;
  readonly samples: readonly EvaluatedSample[];
}

export interface EvaluationSettings {
  readonly maxNewTokens: number;
  /** Prompts answered at once. */
  readonly batch?: number;
  readonly onProgress?: ((done: number, total: number) => void) | undefined;
  readonly signal?: AbortSignal | undefined;
  /** That answer together, each its share, and all know all answers. */
  readonly processes?: Processes;
}

/** What is asked and answers: a policy. */
export interface Sampler extends Encodes {
  sample(prompts: readonly Prompt[], options: SamplingOptions): Promise<Rollout[][]>;
}

/** Answers every sample greedily. */
export async function evaluatePolicy(
  policy: Sampler,
  experiment: Experiment,
  samples: Samples,
  settings: EvaluationSettings,
): Promise<EvaluationResult> {
  const { scorer } = experiment;
  const { processes = alone } = settings;
  const places = share(processes, [...Array(samples.length).keys()]);
  const own = await processes.together(() => answerAll(policy, experiment, { samples, places }, settings));
  if (processes.size === 1) return { metrics: summariseSets(scorer, own), samples: own };
  // What all have read, and what of it only its task understands, does not travel.
  const said = whole(
    await processes.gather(
      own.map(({ sample: _, subject: { truth: __, ...subject }, ...each }) => ({ ...each, subject })),
    ),
  );
  const all = said.map(({ subject, ...each }, place): EvaluatedSample => {
    const sample = samples.at(place)!;
    const truth: unknown = scorerOf(scorer, sample).task.parseTruth(sample, subject.frames);
    return { ...each, sample, subject: { ...subject, truth } };
  });
  return { metrics: summariseSets(scorer, all), samples: all };
}

/** Answers the samples at some places. */
async function answerAll(
  policy: Sampler,
  experiment: Experiment,
  { samples, places }: { readonly samples: Samples; readonly places: readonly number[] },
  { maxNewTokens, batch = evaluatedTogether, onProgress, signal }: EvaluationSettings,
): Promise<EvaluatedSample[]> {
  const { scorer } = experiment;
  const results: EvaluatedSample[] = [];
  for (let start = 0; start < places.length; start += batch) {
    signal?.throwIfAborted();
    const promptIds = places.slice(start, start + batch);
    const questions = await Promise.all(promptIds.map((place) => experiment.ask(policy, samples.at(place)!)));
    const prompts = questions.map(({ prompt }) => prompt);
    const options = { ...greedy, group: 1, maxNewTokens, seed: 0, step: 0, promptIds };
    const answers = await policy.sample(prompts, { ...options, ...(signal && { signal }) });
    const answered = questions.map((subject, i) => {
      const [answer] = answers[i] ?? [];
      if (!answer) throw new Error(`no answer to ${subject.sample.id}`);
      return { answer, subject };
    });
    const evaluated = await evaluateAnswers(scorer, answered);
    answered.forEach(({ answer: { text, stop }, subject: { sample, frames, truth, prompt } }, i) => {
      const { boxes, points } = scorerOf(scorer, sample).task.parse(text, frames);
      const subject = { frames, truth, rendered: prompt.rendered };
      results.push({ ...evaluated[i]!, sample, response: { text, stop }, boxes, points, subject });
    });
    onProgress?.(results.length, places.length);
  }
  return results;
}

/** A line of a file of answers: id, answer, what it points at, reward terms, evaluation. */
export const answerRecord = ({
  sample,
  response,
  boxes,
  points,
  terms,
  reward,
  evaluation,
}: EvaluatedSample): object => ({
  ...{ id: sample.id, ...response, boxes, points, terms, reward, evaluation },
});

export function writePerSample(file: string, samples: readonly EvaluatedSample[]): void {
  makeDirectory(path.dirname(file));
  replaceFile(file, samples.map((sample) => `${JSON.stringify(answerRecord(sample))}\n`).join(''));
}
