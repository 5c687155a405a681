/**
 * The loss of a batch as a sum over responses, and its derivative with respect to every log-probability:
 *
 *   loss = rl  * sum_r w_r sum_t ( -min(rho A, clip(rho) A) + beta k3 )     equations 3 and 8
 *        + sft * sum_y v_y sum_t -log pi                                    equation 1
 *
 * r runs over rollouts and over labels that are members of their group, y over all labels; a label that is a mere target
 * of imitation has no part in the first sum and its denominators.
 * The weights w and v (aggregate.ts) are fixed before any forward pass. The engine computes log-probabilities,
 * `evaluateResponse` returns coefficients = d loss / d log pi, and the engine runs one backward pass with them.
 */
import type { Group, Member } from '../types.ts';
import { tokenWeight, type Aggregate, type Totals } from './aggregate.ts';
import type { Std } from './advantage.ts';
import { klPenalty } from './kl.ts';
import { negativeLogLikelihood, type TokenWeighting } from './sft.ts';
import { shapedSurrogate, surrogate, type Clip, type Ratio, type Surrogate } from './surrogate.ts';

export interface ObjectiveConfig {
  readonly clip: Clip;
  readonly std: Std;
  readonly ratio: Ratio;
  /** Gamma of the shaped ratio of labels; unset: their ratio is that of every response. */
  readonly labelShaping?: number | undefined;
  readonly aggregate: Aggregate;
  /** Penalty to the reference policy; on labels, which are off policy, only where asked for. */
  readonly kl: { readonly coefficient: number; readonly labels: boolean };
}

export interface SftConfig {
  readonly aggregate: Aggregate;
  readonly weighting: TokenWeighting;
}

/** Weights of the two terms of a step (schedule/). */
export interface TermWeights {
  readonly rl: number;
  readonly sft: number;
}

/** What is known of a member of a group before its forward pass. */
export interface PlannedMember extends Pick<Member, 'advantage'> {
  /** A `target` is a label outside of its group. */
  readonly kind: Member['kind'] | 'target';
  /** T */
  readonly tokens: number;
}

export const plannedMembers = ({ members, label }: Pick<Group, 'members' | 'label'>): PlannedMember[] =>
  members.map(({ kind, advantage, response }) => ({
    kind: kind === 'label' && label?.role === 'target' ? 'target' : kind,
    advantage,
    tokens: response.tokens.length,
  }));

/** What one response contributes to the loss, per token. */
export interface ResponsePlan extends PlannedMember {
  readonly policyWeight: number;
  readonly klWeight: number;
  readonly likelihoodWeight: number;
  readonly clip: Clip;
  readonly ratio: Ratio;
  readonly shaping: number | undefined;
  readonly weighting: TokenWeighting;
  /** False where every coefficient is 0 whatever the log-probabilities: the response may be skipped. */
  readonly needsGradient: boolean;
}

/** Denominators of the two terms; several processes add theirs. */
export interface BatchTotals {
  readonly rl: Totals;
  readonly sft: Totals;
}

export function batchTotals(groups: readonly (readonly PlannedMember[])[]): BatchTotals {
  const totals = (chosen: readonly (readonly PlannedMember[])[]): Totals => ({
    prompts: chosen.filter((members) => members.length > 0).length,
    tokens: chosen.flat().reduce((sum, member) => sum + member.tokens, 0),
  });
  return {
    rl: totals(groups.map((members) => members.filter(isMember))),
    sft: totals(groups.map((members) => members.filter(isLabel))),
  };
}

export function addTotals(a: BatchTotals, b: BatchTotals): BatchTotals {
  const add = (x: Totals, y: Totals): Totals => ({ prompts: x.prompts + y.prompts, tokens: x.tokens + y.tokens });
  return { rl: add(a.rl, b.rl), sft: add(a.sft, b.sft) };
}

const isMember = ({ kind }: PlannedMember): boolean => kind !== 'target';
const isLabel = ({ kind }: PlannedMember): boolean => kind !== 'rollout';

/** Plans a group; `totals` are those of the whole batch, on all processes. */
export function planGroup(
  members: readonly PlannedMember[],
  totals: BatchTotals,
  weights: TermWeights,
  config: ObjectiveConfig,
  sft: SftConfig,
): ResponsePlan[] {
  const size = members.filter(isMember).length;
  return members.map((member): ResponsePlan => {
    const { kind, advantage, tokens } = member;
    const policyWeight = isMember(member)
      ? weights.rl * tokenWeight(config.aggregate, { tokens, members: size }, totals.rl)
      : 0;
    const hasKl = kind === 'rollout' || config.kl.labels;
    const klWeight = hasKl ? policyWeight * config.kl.coefficient : 0;
    const likelihoodWeight = isLabel(member)
      ? weights.sft * tokenWeight(sft.aggregate, { tokens, members: 1 }, totals.sft)
      : 0;
    const needsGradient = (policyWeight !== 0 && advantage !== 0) || klWeight !== 0 || likelihoodWeight !== 0;
    return {
      kind,
      advantage,
      tokens,
      policyWeight,
      klWeight,
      likelihoodWeight,
      clip: config.clip,
      ratio: config.ratio,
      shaping: kind === 'label' ? config.labelShaping : undefined,
      weighting: sft.weighting,
      needsGradient,
    };
  });
}

export interface ResponseLoss {
  /** This response's part of the loss of the whole batch. */
  readonly loss: number;
  /** [T] d loss / d log pi */
  readonly coefficients: Float64Array;
  readonly stats: ResponseStats;
}

/** Sums over the tokens of one response; add them up over a batch and divide by `tokens`. */
export interface ResponseStats {
  readonly tokens: number;
  readonly clippedLow: number;
  readonly clippedHigh: number;
  readonly ratioSum: number;
  readonly klSum: number;
}

export interface FrozenLogProbs {
  /** [T] of the policy that sampled; absent in the only update of a batch, where it is the current one. */
  readonly old?: ArrayLike<number> | undefined;
  /** [T] of the reference policy; needed where the plan has a KL weight. */
  readonly reference?: ArrayLike<number> | undefined;
}

/** @throws where the number of log-probabilities is not the planned one, or the reference is missing: bugs */
export function evaluateResponse(
  plan: ResponsePlan,
  logProbs: ArrayLike<number>,
  { old, reference }: FrozenLogProbs = {},
): ResponseLoss {
  for (const [name, values] of Object.entries({ logProbs, old, reference })) {
    if (values !== undefined && values.length !== plan.tokens) {
      throw new Error(`${name}: ${values.length} values for a response of ${plan.tokens} tokens`);
    }
  }
  const policy = surrogateOf(plan, logProbs, old);
  const kl = klOf(plan, logProbs, reference);
  const klSum = sum(kl?.values);
  const likelihood = negativeLogLikelihood(logProbs, plan.likelihoodWeight, plan.weighting);
  return {
    loss: -plan.policyWeight * sum(policy.values) + plan.klWeight * klSum + likelihood.loss,
    coefficients: policy.derivatives.map(
      (d, t) => -plan.policyWeight * d + plan.klWeight * (kl?.derivatives[t] ?? 0) + likelihood.derivatives[t]!,
    ),
    stats: {
      tokens: plan.tokens,
      clippedLow: policy.clippedLow,
      clippedHigh: policy.clippedHigh,
      ratioSum: policy.ratioSum,
      klSum,
    },
  };
}

function surrogateOf(plan: ResponsePlan, logProbs: ArrayLike<number>, old: ArrayLike<number> | undefined): Surrogate {
  const advantage = plan.policyWeight === 0 ? 0 : plan.advantage;
  if (plan.shaping !== undefined) return shapedSurrogate(logProbs, advantage, plan.shaping);
  return surrogate(logProbs, old, advantage, plan.clip, plan.ratio);
}

function klOf(plan: ResponsePlan, logProbs: ArrayLike<number>, reference: ArrayLike<number> | undefined) {
  if (plan.klWeight === 0) return undefined;
  if (reference === undefined) throw new Error('a KL penalty needs the log-probabilities of the reference policy');
  return klPenalty(logProbs, reference);
}

const sum = (values: Float64Array | undefined): number => values?.reduce((total, value) => total + value, 0) ?? 0;
