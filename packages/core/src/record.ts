/** What a finished step looks like from outside: its event, and one record per group. */
import { takeoverSigns } from './label/takeover.ts';
import { scorerOf, type Scorer } from './reward/reward.ts';
import { promptParts, type StepPart } from './schedule/paradigm.ts';
import type { StepResult } from './step.ts';
import type { Group, Member } from './types.ts';
import type { NewEvent } from './run/events.ts';
import { groupRecord, type GroupRecord } from './run/groups.ts';

const mean = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0) / values.length;
const sum = (values: ArrayLike<number>): number => Array.from(values).reduce((a, b) => a + b, 0);

/** Entries whose value is a number: means over nothing are left out. */
const defined = (metrics: Record<string, number>): Record<string, number> =>
  Object.fromEntries(Object.entries(metrics).filter(([, value]) => !Number.isNaN(value)));

/** What the step was: weights of its terms, prompts that sampled and that had a label, of all; batches it took. */
function termMetrics({ terms, sampled, groups }: StepResult): Record<string, number> {
  const share = (holds: (part: StepPart) => boolean): number => {
    const parts = promptParts(terms);
    return parts.filter(holds).length / parts.length;
  };
  return {
    weightRl: terms.rl,
    weightSft: terms.sft,
    shareSampled: share(({ rollouts }) => rollouts > 0),
    shareLabelled: share(({ label }) => label !== 'none'),
    sampledPrompts: sampled / groups.length,
  };
}

/** How the labels fared: share that was active, A_y, log pi_old(y) of those that were scored. */
function labelMetrics(
  groups: readonly Group[],
  logProbOf: (member: Member) => number | undefined,
): Record<string, number> {
  const labelled = groups.flatMap(({ label, members: [first] }) =>
    label ? [{ label, member: first?.kind === 'label' ? first : undefined }] : [],
  );
  if (labelled.length === 0) return {};
  const active = labelled.filter(({ label }) => label.active);
  const advantages = active.flatMap(({ label, member }) =>
    label.role === 'member' && member ? [member.advantage] : [],
  );
  return {
    labelActive: active.length / labelled.length,
    labelAdvantage: mean(advantages),
    labelNegative: advantages.filter((advantage) => advantage < 0).length / labelled.length,
    labelLogProb: mean(labelled.flatMap(({ member }) => (member && logProbOf(member)) ?? [])),
  };
}

/** Rewards by term, lengths, entropy of what was sampled. */
function rolloutMetrics(groups: readonly Group[], scorer: Scorer): Record<string, number> {
  const members = groups.map((group) => group.members.filter(({ kind }) => kind === 'rollout'));
  const all = members.flat();
  if (all.length === 0) return {};
  const names = new Set([scorer, ...scorer.others.values()].flatMap(({ weights }) => Object.keys(weights)));
  const terms = [...names].map((name) => [`reward.${name}`, mean(all.map((each) => each.terms[name] ?? 0))] as const);
  return {
    reward: mean(all.map(({ reward }) => reward)),
    ...Object.fromEntries(terms),
    length: mean(all.map(({ response }) => response.tokens.length)),
    cutOff: mean(all.map(({ response }) => (response.stop === 'length' ? 1 : 0))),
    /** -log pi of a sampled token: an estimate of the policy's entropy in nats. */
    entropy:
      -sum(all.flatMap(({ response }) => ('logProbs' in response ? (response.logProbs as number[]) : []))) /
      sum(all.map(({ response }) => response.tokens.length)),
    noVariance: mean(members.map((group) => (group.every(({ reward }) => reward === group[0]?.reward) ? 1 : 0))),
  };
}

export function describeStep(
  step: number,
  result: StepResult,
  scorer: Scorer,
  learningRate: number,
): { event: Extract<NewEvent, { type: 'step' }>; groups: GroupRecord[] } {
  const { groups, update, seconds } = result;
  const logProbs = new Map<Member, number>();
  groups.forEach(({ members }, i) => {
    members.forEach((member, j) => {
      const values = update.oldLogProbs[i]?.[j];
      if (values) logProbs.set(member, sum(values));
    });
  });
  const { tokens, clippedLow, clippedHigh, ratioSum, klSum } = update.stats;
  const metrics = defined({
    loss: update.loss,
    gradientNorm: update.gradientNorm,
    learningRate,
    ...rolloutMetrics(groups, scorer),
    ...labelMetrics(groups, (member) => logProbs.get(member)),
    ...takeoverSigns(groups, scorer),
    labelGradient: update.labelGradient,
    labelLogProbInactive: result.inactiveLogProb,
    scored: update.scored / update.responses,
    clippedLow: clippedLow / tokens,
    clippedHigh: clippedHigh / tokens,
    ratio: ratioSum / tokens,
    kl: klSum / tokens,
    ...termMetrics(result),
  });
  const records = groups.map((group) =>
    groupRecord(step, group, {
      marks: ({ response }) => scorerOf(scorer, group.sample).task.parse(response.text, group.prompt.frames),
      logProb: (member) => logProbs.get(member),
    }),
  );
  return { event: { type: 'step', step, metrics, seconds }, groups: records };
}
