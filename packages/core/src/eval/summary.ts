/** From the responses of an evaluation to its metrics. */
import { average } from '../objective/advantage.ts';
import { scoreTerms, totalReward, type Scorer, type Subject } from '../reward/reward.ts';
import type { Answer, Evaluation } from '../tasks/task.ts';
import type { Terms } from '../types.ts';

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
