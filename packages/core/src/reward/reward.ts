/** From the terms of a response to its reward. */
import { messageOf, UserError } from '../errors.ts';
import { markDefined } from '../tasks/defined.ts';
import type { Answer, Task } from '../tasks/task.ts';
import type { Frame, Sample, Terms } from '../types.ts';

/** A reward term of the user's own, added to those of the task. */
export interface RewardFunction {
  /** Name of the term in records and plots. */
  readonly name: string;
  readonly weight: number;
  score(answer: Answer, sample: Sample): number;
}

/**
 * Checks a reward function, and returns it.
 * @example
 * defineReward({ name: 'brief', weight: 0.2, score: ({ text }) => (text.length < 200 ? 1 : 0) });
 * @throws UserError for an empty name or a weight that is not a number
 */
export function defineReward(reward: RewardFunction): RewardFunction {
  if (reward.name === '') throw new UserError('a reward function needs a name');
  if (!Number.isFinite(reward.weight)) {
    throw new UserError(`the weight of the reward "${reward.name}" is not a finite number`);
  }
  return markDefined(reward, 'reward');
}

/** A sample as its responses are judged against it. */
export interface Subject<Truth = unknown> {
  readonly sample: Sample;
  readonly truth: Truth;
  /** One per image. */
  readonly frames: readonly Frame[];
}

/** Whether a thought earns its mark `always`, or only beside an answer whose accuracy is above 0. */
export type ThinkingMark = 'always' | 'whenCorrect';

/** A task together with the reward functions that the user added, and the scorers of samples that name other tasks. */
export interface Scorer<Truth = unknown> {
  readonly task: Task<Truth>;
  readonly thinking: ThinkingMark;
  readonly rewards: readonly RewardFunction[];
  readonly weights: Readonly<Record<string, number>>;
  /** By name of the task. */
  readonly others: ReadonlyMap<string, Scorer>;
}

/** @throws UserError where a reward function has the name of another term */
export function makeScorer<Truth>(
  task: Task<Truth>,
  rewards: readonly RewardFunction[] = [],
  thinking: ThinkingMark = 'always',
): Scorer<Truth> {
  const weights: Record<string, number> = { ...task.weights };
  for (const { name, weight } of rewards) {
    if (Object.hasOwn(weights, name)) throw new UserError(`there already is a reward term named "${name}"`);
    weights[name] = weight;
  }
  return { task, thinking, rewards, weights, others: new Map() };
}

/** The scorer of a mix of tasks: that of the first one, with those of the others. */
export function makeScorers(
  tasks: ReadonlyMap<string, Task>,
  rewards: readonly RewardFunction[] = [],
  thinking: ThinkingMark = 'always',
): Scorer {
  const scorers = [...tasks].map(([name, task]) => [name, makeScorer(task, rewards, thinking)] as const);
  const [first, ...others] = scorers;
  if (first === undefined) throw new Error('there are no samples, hence no tasks');
  return { ...first[1], others: new Map(others) };
}

/** What scores a sample. */
export const scorerOf = (scorer: Scorer, { task }: Pick<Sample, 'task'>): Scorer => scorer.others.get(task) ?? scorer;

/**
 * All terms of a response.
 * @throws UserError that names the sample and the term, where a term cannot be computed: that is never a reward of 0
 */
export function scoreTerms<Truth>(scorer: Scorer<Truth>, answer: Answer, subject: Subject<Truth>): Terms {
  const { sample, truth, frames } = subject;
  const terms: Record<string, number> = {};
  const named = (name: string, compute: () => Terms): void => {
    try {
      Object.assign(terms, compute());
    } catch (cause) {
      throw termError(sample, `the reward "${name}" failed: ${messageOf(cause)}`, cause);
    }
  };
  named(scorer.task.name, () => thought(scorer, scorer.task.terms(answer, truth, frames)));
  for (const reward of scorer.rewards) named(reward.name, () => ({ [reward.name]: reward.score(answer, sample) }));
  for (const [name, value] of Object.entries(terms)) {
    if (!Number.isFinite(value)) throw termError(sample, `the reward term "${name}" is ${value}, not a finite number`);
  }
  return terms;
}

/** The terms of the task, without the mark of a thought that led to a wrong answer where that earns none. */
function thought<Truth>({ task, thinking }: Scorer<Truth>, terms: Terms): Terms {
  return thinking === 'whenCorrect' && terms[task.accuracyTerm] === 0 ? { ...terms, [task.thinkingTerm]: 0 } : terms;
}

function termError(sample: Sample, reason: string, cause?: unknown): UserError {
  const where = `${sample.source.file}:${sample.source.line} (${sample.id})`;
  return new UserError(reason, { where, cause, remedy: 'a reward must give a finite number for any response' });
}

/**
 * r = sum over terms of weight * term.
 * @throws where a term has no weight or a weight no term: a bug of the task
 */
export function totalReward(terms: Terms, weights: Readonly<Record<string, number>>): number {
  const names = Object.keys(weights);
  if (names.length !== Object.keys(terms).length) {
    throw new Error(`reward terms ${Object.keys(terms).join(', ')} do not match the weights ${names.join(', ')}`);
  }
  return names.reduce((sum, name) => {
    const term = terms[name];
    if (term === undefined) throw new Error(`the reward term "${name}" has a weight and no value`);
    return sum + weights[name]! * term;
  }, 0);
}
