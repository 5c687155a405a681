/** The responses of an evaluation become its metrics. */
import { average } from '../objective/advantage.ts';
import { scorerOf, scoreGroups, totalReward, type Scorer, type Subject } from '../reward/reward.ts';
import type { Answer, Evaluation } from '../tasks/task.ts';
import type { Sample, Terms } from '../types.ts';

/** What is recorded of one evaluated response. */
export interface EvaluatedResponse {
  readonly terms: Terms;
  /** Sum of weight * term; undefined where a reward skipped the response. */
  readonly reward: number | undefined;
  readonly evaluation: Evaluation;
}

/** Answers to different prompts, judged beside each other. */
export async function evaluateAnswers(
  scorers: Scorer,
  answered: readonly { readonly answer: Answer; readonly subject: Subject }[],
): Promise<EvaluatedResponse[]> {
  const groups = answered.map(({ answer, subject }) => ({
    scorer: scorerOf(scorers, subject.sample),
    subject,
    answers: [answer],
  }));
  const scored = await scoreGroups(groups);
  return answered.map(({ answer, subject: { truth, frames } }, i) => {
    const { task, weights } = groups[i]!.scorer;
    const terms = scored[i]![0];
    const reward = terms && totalReward(terms, weights);
    return { terms: terms ?? {}, reward, evaluation: task.evaluate(answer, truth, frames) };
  });
}

const meanReward = (responses: readonly EvaluatedResponse[]): Record<string, number> => {
  const rewards = responses.flatMap(({ reward }) => reward ?? []);
  return rewards.length > 0 ? { reward: average(rewards) } : {};
};

/** The task's metrics, in percent, and the mean reward; empty without responses. */
export function summarise<Truth>(
  { task, rewards }: Scorer<Truth>,
  responses: readonly EvaluatedResponse[],
): Readonly<Record<string, number>> {
  if (responses.length === 0) return {};
  const ofRewards = rewards.flatMap(({ name, metric }) => {
    const values = responses.flatMap(({ terms }) => terms[name] ?? []);
    return metric === undefined || values.length === 0 ? [] : [[metric, 100 * average(values)] as const];
  });
  return {
    ...task.metrics(responses.map(({ evaluation }) => evaluation)),
    ...Object.fromEntries(ofRewards),
    ...meanReward(responses),
  };
}

/** The set that a sample belongs to: its field `set`, else its task. */
export const setOf = ({ extra, task }: Pick<Sample, 'extra' | 'task'>): string =>
  typeof extra.set === 'string' ? extra.set : task;

/** Places of what is summarised together, by the name of the set; a set of several tasks is as many: `SET.TASK`. */
export function bySet(all: readonly { readonly set: string; readonly task: string }[]): Map<string, number[]> {
  const tasks = new Map<string, Set<string>>();
  for (const { set, task } of all) tasks.set(set, (tasks.get(set) ?? new Set()).add(task));
  return Map.groupBy(all.keys(), (i) => {
    const { set, task } = all[i]!;
    return tasks.get(set)!.size > 1 ? `${set}.${task}` : set;
  });
}

/** `summarise` of every set, its metrics named `SET.METRIC`, and the mean reward of all; of one set alone, as it is. */
export function summariseSets(
  scorer: Scorer,
  responses: readonly (EvaluatedResponse & { readonly sample: Sample })[],
): Readonly<Record<string, number>> {
  const sets = bySet(responses.map(({ sample }) => ({ set: setOf(sample), task: sample.task })));
  const summaries = [...sets].map(([set, places]) => {
    const own = places.map((i) => responses[i]!);
    return { set, metrics: summarise(scorerOf(scorer, own[0]!.sample), own) };
  });
  if (summaries.length <= 1) return summaries[0]?.metrics ?? {};
  const named = summaries.flatMap(({ set, metrics }) =>
    Object.entries(metrics).map(([name, value]) => [`${set}.${name}`, value] as const),
  );
  return { ...Object.fromEntries(named), ...meanReward(responses) };
}
