/** The terms of a response become its reward. */
import { messageOf, UserError } from '../errors.ts';
import { markDefined } from '../tasks/defined.ts';
import { isBuiltIn } from '../tasks/registry.ts';
import type { Answer, Prediction, Task } from '../tasks/task.ts';
import type { Frame, Sample, Terms } from '../types.ts';
import { REWARD_LIMITS, settledInTime, withinTime, type RewardLimits } from './limits.ts';

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
  /** It runs in a process of its own, which limits its time (plugins/isolated.ts). */
  readonly isIsolated?: boolean;
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
  /** Of rewards of the user's own, and of tasks that plugins define. */
  readonly limits: RewardLimits;
  /** Scorers by name of the task. */
  readonly others: ReadonlyMap<string, Scorer>;
}

/** @throws UserError where a reward function has the name of another term */
export function makeScorer<Truth>(
  task: Task<Truth>,
  rewards: readonly RewardFunction[] = [],
  thinking: ThinkingMark = 'always',
  limits = REWARD_LIMITS,
): Scorer<Truth> {
  const weights: Record<string, number> = { ...task.weights };
  for (const { name, weight } of rewards) {
    if (Object.hasOwn(weights, name)) throw new UserError(`there already is a reward term named "${name}"`);
    weights[name] = weight;
  }
  return { task, thinking, rewards, weights, limits, others: new Map() };
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
  limits = REWARD_LIMITS,
): Scorer {
  const scorers = [...tasks].map(
    ([name, task]) => [name, makeScorer(task, [...own(name), ...rewards], thinking, limits)] as const,
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
  const { task, limits } = scorer;
  const { sample, truth, frames } = subject;
  const compute = (): Terms => task.terms(answer, truth, frames);
  const terms = attempt(task.name, sample, () =>
    isBuiltIn(task.name) ? compute() : withinTime(limits.seconds, compute),
  );
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
    scorer.rewards.map(async (reward) => ({
      name: reward.name,
      values: await valuesOf(reward, judged, { sample, context, limits: scorer.limits }),
    })),
  );
  for (const { name, values } of columns) {
    values.forEach((value, i) => {
      terms[i] = value === skip || terms[i] === undefined ? undefined : { ...terms[i], [name]: value };
    });
  }
  for (const each of terms) if (each) checkValue('total', totalReward(each, scorer.weights), sample);
  return terms;
}

interface Judging {
  readonly sample: Sample;
  readonly context: RewardContext;
  readonly limits: RewardLimits;
}

/** What a reward says of the responses to a prompt, checked; `skip` for those that it failed on, where that is asked. */
async function valuesOf(
  reward: RewardFunction,
  judged: readonly JudgedAnswer[],
  judging: Judging,
): Promise<readonly Value[]> {
  const { sample, context, limits } = judging;
  const limited = <T>(call: () => T | Promise<T>): Promise<T> =>
    reward.isIsolated ? Promise.resolve(call()) : settledInTime(limits.seconds, call);
  if (reward.score) {
    const one = async (answer: JudgedAnswer): Promise<Value> => {
      const value: unknown = await limited(() => reward.score(answer, sample, context));
      return checked(reward.name, value, sample);
    };
    return Promise.all(judged.map((answer) => persistently(reward.name, judging, () => one(answer), skip)));
  }
  const all = async (): Promise<readonly Value[]> => {
    const values: unknown = await limited(() => reward.scoreGroup(judged, sample, context));
    if (Array.isArray(values) && values.length === judged.length) {
      return values.map((value) => checked(reward.name, value, sample));
    }
    const found = Array.isArray(values) ? `${values.length} values` : typeof values;
    throw termError(sample, `the reward "${reward.name}" gave ${found} for ${judged.length} responses`);
  };
  return persistently(reward.name, judging, all, judged.map(() => skip)); // prettier-ignore
}

/** Calls a reward, again where it failed and that is asked. @returns `instead` where it failed for good and may be skipped */
async function persistently<T>(
  name: string,
  { sample, limits }: Judging,
  call: () => Promise<T>,
  instead: T,
): Promise<T> {
  for (let attempt = 0; ; attempt++) {
    try {
      return await call();
    } catch (cause) {
      const error =
        cause instanceof UserError && cause.where?.includes(sample.source.file)
          ? cause
          : termError(sample, `the reward "${name}" failed: ${messageOf(cause)}`, cause);
      if (attempt < limits.retries) continue;
      if (limits.onFailure === 'stop') throw error;
      limits.onWarning?.(`${error.message}\n  the response is skipped (reward.onFailure)`);
      return instead;
    }
  }
}

function checked(name: string, value: unknown, sample: Sample): Value {
  if (value !== skip) checkValue(name, value, sample);
  return value as Value;
}

/** Calls a task; whatever it throws becomes an error that names the sample. */
function attempt<T>(name: string, sample: Sample, compute: () => T): T {
  try {
    return compute();
  } catch (cause) {
    throw termError(sample, `the reward "${name}" failed: ${messageOf(cause)}`, cause);
  }
}

/** The squares of larger ones are not finite. */
const LARGEST = 1e100;

function checkValue(name: string, value: unknown, sample: Sample): void {
  if (typeof value === 'number' && Math.abs(value) <= LARGEST) return;
  const reason = Number.isFinite(value) ? `beyond ${LARGEST}` : 'not a finite number';
  throw termError(sample, `the reward term "${name}" is ${messageOf(value)}, ${reason}`);
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
