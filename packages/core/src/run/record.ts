/** What a finished step looks like from outside: its event, and one record per group. */
import type { Config } from '../config/schema.ts';
import type { FormHistory } from '../label/align.ts';
import { takeoverSigns } from '../label/takeover.ts';
import { scorerOf, type Scorer } from '../reward/reward.ts';
import { promptParts, type StepPart, type StepWork } from '../schedule/paradigm.ts';
import type { Group, Response } from '../types.ts';
import type { UpdateResult } from '../update/update.ts';
import type { NewEvent } from './events.ts';
import { groupRecord, type GroupRecord } from './groups.ts';
import type { Seconds } from './phases.ts';
import type { Asked } from './samples.ts';

const mean = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0) / values.length;
const sum = (values: ArrayLike<number>): number => Array.from(values).reduce((a, b) => a + b, 0);

/** Entries whose value is a number: means over nothing are left out. */
const defined = (metrics: Record<string, number>): Record<string, number> =>
  Object.fromEntries(Object.entries(metrics).filter(([, value]) => !Number.isNaN(value)));

/** What a step leaves behind. */
export interface StepResult {
  readonly work: StepWork;
  readonly groups: readonly Group[];
  /** Prompts that became a group; more than `groups` where dynamic sampling left some out. */
  readonly sampled: number;
  readonly update: UpdateResult;
  /** Mean log pi_old(y) of labels that smoothing switched off; NaN without any. */
  readonly inactiveLogProb: number;
  readonly forms: FormHistory;
  readonly seconds: Seconds;
  /** Highest bytes of tensors on the model's device. */
  readonly memory: number;
}

/** What the step was: weights of its losses, prompts that sampled and that had a label, of all; batches it took. */
function workMetrics({ work, sampled, groups }: StepResult): Record<string, number> {
  const share = (holds: (part: StepPart) => boolean): number => {
    const parts = promptParts(work);
    return parts.filter(holds).length / parts.length;
  };
  return {
    weightRl: work.rl,
    weightSft: work.sft,
    shareSampled: share(({ rollouts }) => rollouts > 0),
    shareLabelled: share(({ label }) => label !== 'none'),
    sampledPrompts: sampled / groups.length,
  };
}

/** How the labels fared: share that was active, A_y, log pi_old(y) of those that were scored. */
function labelMetrics(
  groups: readonly Group[],
  logProbOf: (response: Response) => number | undefined,
): Record<string, number> {
  const labels = groups.flatMap(({ label }) => label ?? []);
  if (labels.length === 0) return {};
  const active = labels.filter((label) => label.active);
  const advantages = active.flatMap(({ place, advantage }) => (place === 'member' ? [advantage] : []));
  return {
    labelActive: active.length / labels.length,
    labelAdvantage: mean(advantages),
    labelNegative: advantages.filter((advantage) => advantage < 0).length / labels.length,
    labelLogProb: mean(labels.flatMap(({ response }) => logProbOf(response) ?? [])),
  };
}

/** Rewards by term, lengths, entropy of what was sampled. */
function rolloutMetrics(groups: readonly Group[], scorer: Scorer): Record<string, number> {
  const all = groups.flatMap(({ rollouts }) => rollouts);
  if (all.length === 0) return {};
  const names = new Set([scorer, ...scorer.others.values()].flatMap(({ weights }) => Object.keys(weights)));
  const terms = [...names].map((name) => [`reward.${name}`, mean(all.map((each) => each.terms[name] ?? 0))] as const);
  const hasNoVariance = ({ rollouts: [first, ...rest] }: Group): boolean =>
    rest.every(({ reward }) => reward === first?.reward);
  return {
    reward: mean(all.map(({ reward }) => reward)),
    ...Object.fromEntries(terms),
    length: mean(all.map(({ response }) => response.tokens.length)),
    cutOff: mean(all.map(({ response }) => (response.stop === 'length' ? 1 : 0))),
    /** How many of those the loss left out. */
    masked: mean(all.map(({ masked }) => (masked ? 1 : 0))),
    /** -log pi of a sampled token: an estimate of the policy's entropy in nats. */
    entropy: -mean(all.flatMap(({ response }) => response.logProbs)),
    noVariance: mean(groups.map((group) => (hasNoVariance(group) ? 1 : 0))),
  };
}

/** How far pi_old is from who sampled the rollouts, and what the correction did about it. */
function mismatchMetrics({ mismatch }: UpdateResult): Record<string, number> {
  if (!mismatch || mismatch.rollouts === 0) return {};
  const { tokens, distance, largest, capped, rollouts, farOff } = mismatch;
  return {
    /** Mean |log pi_old - log mu| of a token, in nats. */
    mismatch: distance / tokens,
    mismatchMaxRatio: largest,
    ...{ mismatchCapped: capped / tokens, mismatchMasked: farOff / rollouts },
  };
}

export function describeStep(
  step: number,
  result: StepResult,
  scorer: Scorer,
  learningRate: number,
  tokens: Config['record']['tokens'] = 'none',
): { event: Extract<NewEvent, { type: 'step' }>; groups: GroupRecord[] } {
  const { groups, update, seconds, memory } = result;
  const logProbOf = (response: Response): number | undefined => {
    const values = update.oldLogProbs.get(response);
    return values && sum(values);
  };
  const { tokens: scored, clippedLow, clippedHigh, ratioSum, klSum, klTokens, klClamped } = update.stats;
  const metrics = defined({
    loss: update.loss,
    gradientNorm: update.gradientNorm,
    learningRate,
    ...rolloutMetrics(groups, scorer),
    ...labelMetrics(groups, logProbOf),
    ...takeoverSigns(groups, scorer),
    labelGradient: update.labelGradient,
    labelLogProbInactive: result.inactiveLogProb,
    scored: update.scored / update.responses,
    clippedLow: clippedLow / scored,
    clippedHigh: clippedHigh / scored,
    ratio: ratioSum / scored,
    kl: klSum / (klTokens || scored),
    klClamped: klClamped / (klTokens || scored),
    skipped: sum(groups.map((group) => group.skipped)),
    ...mismatchMetrics(update),
    nonFinite: update.nonFinite === undefined ? NaN : 1,
    ...workMetrics(result),
  });
  const records = groups.map((group) => {
    const { task } = scorerOf(scorer, group.sample);
    return groupRecord(step, group, {
      marks: ({ text }) => task.parse(text, group.prompt.frames),
      logProb: logProbOf,
      keepsTokens: (terms) => tokens === 'all' || (tokens === 'failed' && (terms[task.accuracyTerm] ?? 0) <= 0),
    });
  });
  return { event: { type: 'step', step, metrics, seconds, memory }, groups: records };
}

/** A question for the record; what its truth points at is written and read in pixels of the original. */
export function asked(
  scorer: Scorer,
  { sample, rendered, frames, truth }: Omit<Asked, 'boxes' | 'points'> & { truth: unknown },
): Asked {
  const { task } = scorerOf(scorer, sample);
  const own = frames.map((frame) => ({ ...frame, modelWidth: frame.width, modelHeight: frame.height }));
  const { boxes, points } = task.parse(task.forms[0]!.write(truth, own), own);
  return { sample, rendered, frames, boxes, points };
}
