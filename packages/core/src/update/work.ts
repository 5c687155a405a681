/** What an update has to compute: the responses that have a gradient, by prompt, with their parts of the loss. */
import type { Config } from '../config/schema.ts';
import type { Processes } from '../distributed/processes.ts';
import type { PromptWithResponses } from '../model/pack.ts';
import {
  addTotals,
  batchTotals,
  planGroup,
  type BatchTotals,
  type LossWeights,
  type plannedResponses,
  type ResponsePlan,
} from '../objective/objective.ts';
import type { PlacedGroup } from '../rollout/dynamic.ts';
import type { Group, Response } from '../types.ts';
import type { RowSize } from './microbatch.ts';

/** A response together with its plan and what is known of its log-probabilities. */
export interface Item {
  /** Which of its group's responses it is. */
  readonly index: number;
  readonly response: Response;
  /** log mu of a rollout. */
  readonly sampled: readonly number[] | undefined;
  readonly plan: ResponsePlan;
  old: Float64Array | undefined;
  reference: Float64Array | undefined;
}

export interface Work {
  readonly group: Group;
  /** Of the group among those of all processes. */
  readonly place: number;
  readonly items: readonly Item[];
}

/** The row that a prompt and those of its responses that are scored become. */
export const rowOf = ({ group, items }: Work): RowSize => ({
  prompt: group.prompt.inputIds.length,
  responses: items.length,
  tokens: items.reduce((most, { plan }) => Math.max(most, plan.tokens), 0),
});

export const packable = (work: readonly Work[]): PromptWithResponses[] =>
  work.map(({ group, items }) => ({
    prompt: group.prompt,
    responses: items.map(({ response }) => response.tokens),
  }));

/** Cuts flat log-probabilities [N] into those of each item, in order. */
export function cut(flat: Float64Array, work: readonly Work[]): [Item, Float64Array][] {
  let at = 0;
  return work.flatMap(({ items }) =>
    items.map((item): [Item, Float64Array] => [item, flat.subarray(at, (at += item.plan.tokens))]),
  );
}

type LossConfig = Pick<Config, 'objective' | 'sft'>;
export type Planned = ReturnType<typeof plannedResponses>;

/** Denominators of the whole batch. */
export async function totalsOf(planned: readonly Planned[], processes: Processes): Promise<BatchTotals> {
  return (await processes.gather(batchTotals(planned))).reduce(addTotals);
}

/**
 * The responses that have a gradient, by group, with their parts of the loss of the whole batch.
 * @param known what was planned before: log-probabilities that are known stay so
 */
export function planWork(
  groups: readonly PlacedGroup[],
  planned: readonly Planned[],
  totals: BatchTotals,
  weights: LossWeights,
  { objective, sft }: LossConfig,
  known: readonly Work[] = [],
): Work[] {
  const before = new Map(known.flatMap(({ items }) => items.map((item) => [item.response, item] as const)));
  return groups.flatMap(({ group, place }, i): Work[] => {
    const responses = planned[i] ?? [];
    const plans = planGroup(responses, totals, weights, objective, sft);
    const items = plans.flatMap((plan, j): Item[] => {
      const { response, sampled } = responses[j]!;
      const { old, reference } = before.get(response) ?? {};
      return plan.needsGradient ? [{ index: j, response, sampled, plan, old, reference }] : [];
    });
    return items.length > 0 ? [{ group, place, items }] : [];
  });
}
