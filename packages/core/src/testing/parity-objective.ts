/** Loss and d loss / d log pi of the objectives compared with autograd (oracle/objective.py). Runs without the addon. */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

import { groupAdvantages, type Baseline } from '../objective/advantage.ts';
import type { Aggregate } from '../objective/aggregate.ts';
import {
  batchTotals,
  evaluateResponse,
  planGroup,
  type ObjectiveConfig,
  type SftConfig,
  type LossWeights,
} from '../objective/objective.ts';
import type { TokenWeighting } from '../objective/sft.ts';
import type { LabelPlace } from '../types.ts';
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

type RlSettings = Omit<ObjectiveConfig, 'aggregate'> & {
  aggregate: OracleAggregate;
  withLabels: boolean;
  baseline?: Baseline;
};
type SftSettings = OracleAggregate & { readonly weighting?: TokenWeighting };
type RlCase = Expected<RlSettings, number[][][]> & { readonly advantages: number[][] };
type SftCase = Expected<SftSettings, number[][]>;
type MixedCase = Expected<{ mu: number; rl: RlSettings; sft: SftSettings }, number[][][]>;

interface Fixture {
  readonly groups: readonly (readonly OracleMember[])[];
  readonly cases: readonly RlCase[];
  readonly sft: readonly SftCase[];
  readonly mixed: readonly MixedCase[];
}

const file = fileURLToPath(new URL('../../../../oracle/fixtures/objective.json', import.meta.url));
export const objectiveFixture = JSON.parse(readFileSync(file, 'utf8')) as Fixture;
const { groups, cases, sft, mixed } = objectiveFixture;

const aggregateOf = ({ tokens, over, normalizer }: OracleAggregate): Aggregate =>
  normalizer === null ? { tokens, over } : { tokens, over, normalizer };
const sftOf = ({ weighting = 'uniform', ...aggregate }: SftSettings): SftConfig => {
  return { aggregate: aggregateOf(aggregate), weighting };
};
const configOf = ({ aggregate, ...rest }: RlSettings): ObjectiveConfig => {
  return { ...rest, aggregate: aggregateOf(aggregate) };
};

const SFT: SftConfig = { aggregate: { tokens: 'mean', over: 'batch' }, weighting: 'uniform' };

/** Advantages of a group; of labels that are targets 0. */
function advantagesOf(members: readonly OracleMember[], { std, baseline }: RlSettings, labels: boolean): number[] {
  const label = members.find(({ kind }) => kind === 'label');
  const rewards = members.filter(({ kind }) => kind === 'rollout').map(({ reward }) => reward);
  const joined = labels && label ? { reward: label.reward, active: true } : undefined;
  const { label: own = 0, rollouts } = groupAdvantages(joined, rewards, std, baseline);
  return label ? [own, ...rollouts] : [...rollouts];
}

interface Evaluated {
  readonly advantages: readonly number[];
  readonly loss: number;
  readonly coefficients: readonly number[];
}

/** Advantages of members, loss, and coefficients of tokens, in the order of the batch. */
function evaluate(
  chosen: Fixture['groups'],
  weights: LossWeights,
  settings: RlSettings,
  sftConfig: SftConfig,
  place: LabelPlace,
): Evaluated {
  const planned = chosen.map((members) => {
    const advantages = advantagesOf(members, settings, place === 'member');
    return members.map(({ kind, current }, i) => ({
      as: kind === 'label' ? place : kind,
      advantage: advantages[i]!,
      tokens: current.length,
    }));
  });
  const totals = batchTotals(planned);
  const results = chosen.flatMap((members, p) =>
    planGroup(planned[p]!, totals, weights, configOf(settings), sftConfig).map((plan, i) =>
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
  const chosen = groups.map((group) => group.filter(({ kind }) => settings.withLabels || kind === 'rollout'));
  const actual = evaluate(chosen, { rl: 1, sft: 0 }, settings, SFT, 'member');
  return worst([
    largest(actual.advantages, advantages.flat()),
    largest([actual.loss], [loss]),
    largest(actual.coefficients, coefficients.flat(2)),
  ]);
}

export function supervisedDistance({ settings, loss, coefficients }: SftCase): number {
  const labels = groups.map((group) => group.slice(0, 1));
  const actual = evaluate(labels, { rl: 0, sft: 1 }, cases[0]!.settings, sftOf(settings), 'target');
  return worst([largest([actual.loss], [loss]), largest(actual.coefficients, coefficients.flat())]);
}

export function mixedDistance({ settings: { mu, rl, sft: own }, loss, coefficients }: MixedCase): number {
  const actual = evaluate(groups, { rl: 1 - mu, sft: mu }, rl, sftOf(own), 'target');
  return worst([largest([actual.loss], [loss]), largest(actual.coefficients, coefficients.flat(2))]);
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
    row(`SFT beside GRPO in ${mixed.length} settings: loss and its derivative`, worst(mixed.map(mixedDistance))),
  ];
}
