/**
 * The loss of a batch as a sum over responses, and its derivative with respect to every log-probability:
 *
 *   loss = rl  * sum_r w_r sum_t ( -min(rho A, clip(rho) A) + beta k3 )     equations 3 and 8
 *        + sft * sum_y v_y sum_t -log pi                                    equation 1
 *
 * r runs over rollouts and over labels that are members of their group, y over all labels; a label that is a mere target
 * of imitation has no part in the first sum and its denominators. A rollout that is masked (cut off by the limit on its length,
 * as in DAPO's overlong filtering) has no term: as in TRL its reward counts for its group and it is one of the M responses of
 * the group, and as in DAPO's code its tokens are not among those of the batch.
 * The weights w and v (aggregate.ts) are fixed before any forward pass. The engine computes log-probabilities,
 * `evaluateResponse` returns coefficients = d loss / d log pi, and the engine runs one backward pass with them.
 */
import type { Group, LabelPlace, Response } from '../types.ts';
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

/** Weights of the two losses of a step (schedule/). */
export interface LossWeights {
  readonly rl: number;
  readonly sft: number;
}

/** What is known of a response before its forward pass. */
export interface PlannedResponse {
  /** A rollout, or a label by its place. */
  readonly as: 'rollout' | LabelPlace;
  readonly advantage: number;
  /** T */
  readonly tokens: number;
  readonly masked?: boolean | undefined;
}

/** The responses of a group that the loss knows: the label first, where it has a place, then the rollouts. */
export function plannedResponses({ rollouts, label }: Pick<Group, 'rollouts' | 'label'>): (PlannedResponse & {
  readonly response: Response;
  /** log mu of a rollout. */
  readonly sampled?: readonly number[];
})[] {
  const planned = rollouts.map(({ response, advantage, masked }) => {
    const { tokens, logProbs: sampled } = response;
    return { as: 'rollout' as const, response, advantage, masked, tokens: tokens.length, sampled };
  });
  if (label === undefined || label.place === 'aside') return planned;
  const { place, response, advantage } = label;
  return [{ as: place, response, advantage, tokens: response.tokens.length }, ...planned];
}

/** What one response contributes to the loss, per token. */
export interface ResponsePlan extends PlannedResponse {
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

/** Denominators of the two losses; several processes add theirs. */
export interface BatchTotals {
  readonly rl: Totals;
  readonly sft: Totals;
}

export function batchTotals(groups: readonly (readonly PlannedResponse[])[]): BatchTotals {
  const totals = (chosen: readonly (readonly PlannedResponse[])[]): Totals => ({
    prompts: chosen.filter((responses) => responses.length > 0).length,
    tokens: chosen.flat().reduce((sum, { tokens, masked }) => sum + (masked ? 0 : tokens), 0),
  });
  return {
    rl: totals(groups.map((responses) => responses.filter(isMember))),
    sft: totals(groups.map((responses) => responses.filter(isLabel))),
  };
}

export function addTotals(a: BatchTotals, b: BatchTotals): BatchTotals {
  const add = (x: Totals, y: Totals): Totals => ({ prompts: x.prompts + y.prompts, tokens: x.tokens + y.tokens });
  return { rl: add(a.rl, b.rl), sft: add(a.sft, b.sft) };
}

const isMember = ({ as }: PlannedResponse): boolean => as !== 'target';
export const isLabel = ({ as }: PlannedResponse): boolean => as !== 'rollout';

/** Plans a group; `totals` are those of the whole batch, on all processes. */
export function planGroup(
  responses: readonly PlannedResponse[],
  totals: BatchTotals,
  weights: LossWeights,
  config: ObjectiveConfig,
  sft: SftConfig,
): ResponsePlan[] {
  const size = responses.filter(isMember).length;
  return responses.map((response): ResponsePlan => {
    const { as, advantage, tokens, masked } = response;
    const policyWeight =
      isMember(response) && !masked
        ? weights.rl * tokenWeight(config.aggregate, { tokens, members: size }, totals.rl)
        : 0;
    const hasKl = !isLabel(response) || config.kl.labels;
    const klWeight = hasKl ? policyWeight * config.kl.coefficient : 0;
    const likelihoodWeight = isLabel(response)
      ? weights.sft * tokenWeight(sft.aggregate, { tokens, members: 1 }, totals.sft)
      : 0;
    const needsGradient = (policyWeight !== 0 && advantage !== 0) || klWeight !== 0 || likelihoodWeight !== 0;
    return {
      as,
      advantage,
      tokens,
      masked,
      policyWeight,
      klWeight,
      likelihoodWeight,
      clip: config.clip,
      ratio: config.ratio,
      shaping: as === 'member' ? config.labelShaping : undefined,
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

/** Sums over the tokens of one response; add them up over a batch and divide by `tokens`, those of KL by `klTokens`. */
export interface ResponseStats {
  readonly tokens: number;
  readonly clippedLow: number;
  readonly clippedHigh: number;
  readonly ratioSum: number;
  readonly klSum: number;
  /** Tokens that a KL penalty acts on: of labels as a rule none. */
  readonly klTokens: number;
  /** Tokens whose k3 was bounded. */
  readonly klClamped: number;
}

export interface FrozenLogProbs {
  /** [T] of the policy that sampled; absent in the only update of a batch, where it is the current one. */
  readonly old?: ArrayLike<number> | undefined;
  /** [T] of the reference policy; needed where the plan has a KL weight. */
  readonly reference?: ArrayLike<number> | undefined;
  /** [T] that terms of the surrogate are multiplied by (mismatch.ts); unset: 1. */
  readonly weights?: ArrayLike<number> | undefined;
}

/** @throws where the number of log-probabilities is not the planned one, or the reference is missing: bugs */
export function evaluateResponse(
  plan: ResponsePlan,
  logProbs: ArrayLike<number>,
  { old, reference, weights }: FrozenLogProbs = {},
): ResponseLoss {
  for (const [name, values] of Object.entries({ logProbs, old, reference, weights })) {
    if (values !== undefined && values.length !== plan.tokens) {
      throw new Error(`${name}: ${values.length} values for a response of ${plan.tokens} tokens`);
    }
  }
  const policy = surrogateOf(plan, logProbs, old);
  const weightOf = (t: number): number => weights?.[t] ?? 1;
  const kl = klOf(plan, logProbs, reference);
  const klSum = sum(kl?.values);
  const likelihood = negativeLogLikelihood(logProbs, plan.likelihoodWeight, plan.weighting);
  return {
    loss:
      -plan.policyWeight * sum(weights ? policy.values.map((v, t) => weightOf(t) * v) : policy.values) +
      plan.klWeight * klSum +
      likelihood.loss,
    coefficients: policy.derivatives.map(
      (d, t) =>
        -plan.policyWeight * weightOf(t) * d + plan.klWeight * (kl?.derivatives[t] ?? 0) + likelihood.derivatives[t]!,
    ),
    stats: {
      tokens: plan.tokens,
      clippedLow: policy.clippedLow,
      clippedHigh: policy.clippedHigh,
      ratioSum: policy.ratioSum,
      klSum,
      klTokens: kl ? plan.tokens : 0,
      klClamped: kl?.clamped ?? 0,
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
