/** From the responses of an evaluation to its metrics. */
import { average } from '../objective/advantage.ts';
import { scorerOf, scoreTerms, totalReward, type Scorer, type Subject } from '../reward/reward.ts';
import type { Answer, Evaluation } from '../tasks/task.ts';
import type { Sample, Terms } from '../types.ts';

/** What is recorded of one evaluated response. */
export interface EvaluatedResponse {
  readonly terms: Terms;
  /** Sum of weight * term. */
  readonly reward: number;
  readonly evaluation: Evaluation;
}

export function evaluateAnswer<Truth>(
  scorer: Scorer<Truth>,
  answer: Answer,
  subject: Subject<Truth>,
): EvaluatedResponse {
  const terms = scoreTerms(scorer, answer, subject);
  return {
    terms,
    reward: totalReward(terms, scorer.weights),
    evaluation: scorer.task.evaluate(answer, subject.truth, subject.frames),
  };
}

/** The task's metrics, in percent, and the mean reward; empty without responses. */
export function summarise<Truth>(
  { task }: Scorer<Truth>,
  responses: readonly EvaluatedResponse[],
): Readonly<Record<string, number>> {
  if (responses.length === 0) return {};
  return {
    ...task.metrics(responses.map(({ evaluation }) => evaluation)),
    reward: average(responses.map(({ reward }) => reward)),
  };
}

/** The set that a sample belongs to: its field `set`, else its task. */
export const setOf = ({ extra, task }: Pick<Sample, 'extra' | 'task'>): string =>
  typeof extra.set === 'string' ? extra.set : task;

/** `summarise` of every set, its metrics named `SET.METRIC`, and the mean reward of all; of one set alone, as it is. */
export function summariseSets(
  scorer: Scorer,
  responses: readonly (EvaluatedResponse & { readonly sample: Sample })[],
): Readonly<Record<string, number>> {
  const sets = Map.groupBy(responses, ({ sample }) => `${setOf(sample)} ${sample.task}`);
  const summaries = [...sets.values()].map((own) => {
    const { sample } = own[0]!;
    return { set: setOf(sample), metrics: summarise(scorerOf(scorer, sample), own) };
  });
  if (summaries.length <= 1) return summaries[0]?.metrics ?? {};
  const named = summaries.flatMap(({ set, metrics }) =>
    Object.entries(metrics).map(([name, value]) => [`${set}.${name}`, value] as const),
  );
  return { ...Object.fromEntries(named), reward: average(responses.map(({ reward }) => reward)) };
}
