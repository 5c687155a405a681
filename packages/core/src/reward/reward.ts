/** The terms of a response become its reward. */
import { messageOf, UserError } from '../errors.ts';
import { markDefined } from '../tasks/defined.ts';
import type { Answer, Prediction, Task } from '../tasks/task.ts';
import type { Frame, Sample, Terms } from '../types.ts';

/** What a reward says of a response that cannot be judged: it leaves its group, and is counted. */
export const skip: unique symbol = Symbol.for('visurf.skip');

/** A response as rewards see it. */
export interface JudgedAnswer extends Answer {
  /** What the task reads out of it. */
  readonly parsed: Prediction;
  /** A label is judged like a rollout. */
  readonly isLabel: boolean;
}

/** What the responses to one prompt are judged against. */
export interface RewardContext {
  /** What the task read out of the sample's solution. */
  readonly truth: unknown;
  /** One per image. */
  readonly frames: readonly Frame[];
}

type Value = number | typeof skip;

interface NamedReward {
  /** Name of the term in records and plots. */
  readonly name: string;
  readonly weight: number;
  /** Name of a metric of evaluations: the mean of its values, times 100. Unset: it is in the reward alone. */
  readonly metric?: string;
  /** It likes what is right, and is too slow to be asked about every label before training. */
  readonly isSlow?: boolean;
}

/** A reward that looks at one response. */
export interface ResponseReward extends NamedReward {
  score(answer: JudgedAnswer, sample: Sample, context: RewardContext): Value | Promise<Value>;
  readonly scoreGroup?: never;
}

/** A reward that looks at all responses to a prompt together: the rollouts, and the label where it is one of the group. */
export interface GroupReward extends NamedReward {
  /** @returns one value for each answer, in their order */
  scoreGroup(
    answers: readonly JudgedAnswer[],
    sample: Sample,
    context: RewardContext,
  ): readonly Value[] | Promise<readonly Value[]>;
  readonly score?: never;
}

/** A reward term of the user's own, added to those of the task; prompts of a step are judged beside each other. */
export type RewardFunction = ResponseReward | GroupReward;

/**
 * Checks a reward function, and returns it.
 * @example
 * defineReward({ name: 'brief', weight: 0.2, score: ({ text }) => (text.length < 200 ? 1 : 0) });
 * @throws UserError for an empty name, a weight that is not a number, or a reward that scores nothing
 */
export function defineReward<Reward extends RewardFunction>(reward: Reward): Reward {
  const { name, weight } = reward;
  if (name === '') throw new UserError('a reward function needs a name');
  if (!Number.isFinite(weight)) throw new UserError(`the weight of the reward "${name}" is not a finite number`);
  if ((typeof reward.score === 'function') === (typeof reward.scoreGroup === 'function')) {
    throw new UserError(`the reward "${name}" needs one of the functions score and scoreGroup`);
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
  /** Scorers by name of the task. */
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

/**
 * The scorer of several tasks: that of the first one, with those of the others.
 * @param own rewards of single tasks, by their names
 */
export function makeScorers(
  tasks: ReadonlyMap<string, Task>,
  rewards: readonly RewardFunction[] = [],
  thinking: ThinkingMark = 'always',
  own: (task: string) => readonly RewardFunction[] = () => [],
): Scorer {
  const scorers = [...tasks].map(
    ([name, task]) => [name, makeScorer(task, [...own(name), ...rewards], thinking)] as const,
  );
  const [first, ...others] = scorers;
  if (first === undefined) throw new Error('there are no samples, hence no tasks');
  return { ...first[1], others: new Map(others) };
}

/** What scores a sample. */
export const scorerOf = (scorer: Scorer, { task }: Pick<Sample, 'task'>): Scorer => scorer.others.get(task) ?? scorer;

/**
 * The terms of a response by its task, without rewards of the user's own.
 * @throws UserError that names the sample and the term, where a term cannot be computed: that is never a reward of 0
 */
export function scoreTerms<Truth>(scorer: Scorer<Truth>, answer: Answer, subject: Subject<Truth>): Terms {
  const { task } = scorer;
  const { sample, truth, frames } = subject;
  const terms = attempt(task.name, sample, () => task.terms(answer, truth, frames));
  for (const [name, value] of Object.entries(terms)) checkValue(name, value, sample);
  return thought(scorer, terms);
}

/** Responses to one prompt, judged together. */
export interface Responses<Truth = unknown> {
  readonly scorer: Scorer<Truth>;
  readonly subject: Subject<Truth>;
  readonly answers: readonly (Answer & { readonly isLabel?: boolean })[];
}

/**
 * All terms of all responses, [groups][answers]; undefined for a response that a reward skips. The rewards of all groups run
 * beside each other.
 * @throws UserError that names the sample and the reward, where one fails or gives no finite number
 */
export async function scoreGroups(groups: readonly Responses[]): Promise<(Terms | undefined)[][]> {
  return Promise.all(groups.map(scoreGroup));
}

async function scoreGroup({ scorer, subject, answers }: Responses): Promise<(Terms | undefined)[]> {
  const { sample, truth, frames } = subject;
  const terms: (Terms | undefined)[] = answers.map((answer) => scoreTerms(scorer, answer, subject));
  if (scorer.rewards.length === 0 || answers.length === 0) return terms;
  const judged = answers.map(({ text, stop, isLabel = false }): JudgedAnswer => ({
    text,
    stop,
    isLabel,
    parsed: scorer.task.parse(text, frames),
  }));
  const context = { truth, frames };
  const columns = await Promise.all(
    scorer.rewards.map(async (reward) => {
      const values = await attempt(reward.name, sample, () =>
        reward.score
          ? Promise.all(judged.map(async (answer) => reward.score(answer, sample, context)))
          : reward.scoreGroup(judged, sample, context),
      );
      if (!Array.isArray(values) || values.length !== answers.length) {
        const found = Array.isArray(values) ? `${values.length} values` : typeof values;
        throw termError(sample, `the reward "${reward.name}" gave ${found} for ${answers.length} responses`);
      }
      return { name: reward.name, values: values as readonly Value[] };
    }),
  );
  for (const { name, values } of columns) {
    values.forEach((value, i) => {
      if (value !== skip) checkValue(name, value, sample);
      terms[i] = value === skip || terms[i] === undefined ? undefined : { ...terms[i], [name]: value };
    });
  }
  return terms;
}

/** Calls a reward; whatever it throws, at once or later, becomes an error that names the sample. */
function attempt<T>(name: string, sample: Sample, compute: () => T): T {
  const fail = (cause: unknown): never => {
    throw termError(sample, `the reward "${name}" failed: ${messageOf(cause)}`, cause);
  };
  try {
    const value = compute();
    return value instanceof Promise ? (value.catch(fail) as T) : value;
  } catch (cause) {
    return fail(cause);
  }
}

function checkValue(name: string, value: unknown, sample: Sample): void {
  if (Number.isFinite(value)) return;
  throw termError(sample, `the reward term "${name}" is ${String(value)}, not a finite number`);
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
