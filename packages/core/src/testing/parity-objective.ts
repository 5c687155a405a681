/** Loss and d loss / d log pi of the objectives compared with autograd (oracle/objective.py). Runs without the addon. */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

import { groupAdvantages } from '../objective/advantage.ts';
import type { Aggregate } from '../objective/aggregate.ts';
import { batchTotals, evaluateResponse, planGroup, type ObjectiveConfig } from '../objective/objective.ts';
import { largest, worst, type Comparison } from './comparison.ts';

interface OracleMember {
  readonly kind: 'label' | 'rollout';
  readonly reward: number;
  readonly old: readonly number[]; // [T]
  readonly current: readonly number[]; // [T]
  readonly reference: readonly number[]; // [T]
}

interface OracleAggregate extends Omit<Aggregate, 'normalizer'> {
  readonly normalizer: number | null;
}

interface Expected<Settings, Coefficients> {
  readonly settings: Settings;
  readonly loss: number;
  readonly coefficients: Coefficients;
}

type RlSettings = Omit<ObjectiveConfig, 'aggregate'> & { aggregate: OracleAggregate; withLabels: boolean };
type RlCase = Expected<RlSettings, number[][][]> & { readonly advantages: number[][] };
type SftCase = Expected<OracleAggregate, number[][]>;

interface Fixture {
  readonly groups: readonly (readonly OracleMember[])[];
  readonly cases: readonly RlCase[];
  readonly sft: readonly SftCase[];
}

const file = fileURLToPath(new URL('../../../../oracle/fixtures/objective.json', import.meta.url));
export const objectiveFixture = JSON.parse(readFileSync(file, 'utf8')) as Fixture;
const { groups, cases, sft } = objectiveFixture;

const aggregateOf = ({ normalizer, ...rest }: OracleAggregate): Aggregate =>
  normalizer === null ? rest : { ...rest, normalizer };

const SFT: Aggregate = { tokens: 'mean', over: 'batch' };
const RL_ONLY = { rl: 1, sft: 0 };
const SFT_ONLY = { rl: 0, sft: 1 };

function advantagesOf(members: readonly OracleMember[], std: ObjectiveConfig['std']): number[] {
  const [first] = members;
  const label = first?.kind === 'label' ? { reward: first.reward, active: true } : undefined;
  const rewards = members.filter((member) => member.kind === 'rollout').map((member) => member.reward);
  const { label: own, rollouts } = groupAdvantages(label, rewards, std);
  return own === undefined ? [...rollouts] : [own, ...rollouts];
}

interface Evaluated {
  readonly advantages: readonly number[];
  readonly loss: number;
  readonly coefficients: readonly number[];
}

/** Advantages of members, loss, and coefficients of tokens, in the order of the batch. */
function evaluate(
  chosen: Fixture['groups'],
  weights: typeof RL_ONLY,
  config: ObjectiveConfig,
  aggregate: Aggregate,
): Evaluated {
  const planned = chosen.map((members) => {
    const advantages = advantagesOf(members, config.std);
    return members.map(({ kind, current }, i) => ({ kind, advantage: advantages[i]!, tokens: current.length }));
  });
  const totals = batchTotals(planned);
  const results = chosen.flatMap((members, p) =>
    planGroup(planned[p]!, totals, weights, config, aggregate).map((plan, i) =>
      evaluateResponse(plan, members[i]!.current, members[i]),
    ),
  );
  return {
    advantages: planned.flat().map(({ advantage }) => advantage),
    loss: results.reduce((sum, result) => sum + result.loss, 0),
    coefficients: results.flatMap((result) => [...result.coefficients]),
  };
}

/** Largest distance of advantages, loss and coefficients. */
export function reinforcementDistance({ settings, advantages, loss, coefficients }: RlCase): number {
  const { withLabels, aggregate, ...rest } = settings;
  const chosen = groups.map((group) => group.filter(({ kind }) => withLabels || kind === 'rollout'));
  const actual = evaluate(chosen, RL_ONLY, { ...rest, aggregate: aggregateOf(aggregate) }, SFT);
  return worst([
    largest(actual.advantages, advantages.flat()),
    largest([actual.loss], [loss]),
    largest(actual.coefficients, coefficients.flat(2)),
  ]);
}

export function supervisedDistance({ settings, loss, coefficients }: SftCase): number {
  const labels = groups.map((group) => group.slice(0, 1));
  const first = cases[0]!.settings;
  const config = { ...first, aggregate: aggregateOf(first.aggregate) };
  const actual = evaluate(labels, SFT_ONLY, config, aggregateOf(settings));
  return worst([largest([actual.loss], [loss]), largest(actual.coefficients, coefficients.flat())]);
}

export function compareObjective(): Comparison[] {
  const row = (subject: string, distance: number): Comparison => {
    return { subject, measure: 'absolute', tolerance: 1e-12, distance };
  };
  const named = (labels: boolean): RlCase[] => cases.filter(({ settings }) => settings.withLabels === labels);
  const distance = (labels: boolean): number => worst(named(labels).map(reinforcementDistance));
  const what = 'advantages, loss and its derivative';
  return [
    row(`ViSurf in ${named(true).length} settings: ${what}`, distance(true)),
    row(`GRPO in ${named(false).length} settings: ${what}`, distance(false)),
    row(`SFT in ${sft.length} settings: loss and its derivative`, worst(sft.map(supervisedDistance))),
  ];
}
