/** Loss and d loss / d log pi against autograd; expected values made by oracle/objective.py. */
import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { groupAdvantages } from './advantage.ts';
import type { Aggregate } from './aggregate.ts';
import { batchTotals, evaluateResponse, planGroup, type ObjectiveConfig } from './objective.ts';

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
};
type RlCase = Expected<RlSettings, number[][][]> & {
  readonly advantages: number[][];
};

interface Fixture {
  readonly groups: readonly (readonly OracleMember[])[];
  readonly cases: readonly RlCase[];
  readonly sft: readonly Expected<OracleAggregate, number[][]>[];
}

const file = new URL('../../../../oracle/fixtures/objective.json', import.meta.url);
const fixture = JSON.parse(readFileSync(file, 'utf8')) as Fixture;

const aggregateOf = ({ normalizer, ...rest }: OracleAggregate): Aggregate =>
  normalizer === null ? rest : { ...rest, normalizer };

const SFT: Aggregate = { tokens: 'mean', over: 'batch' };
const RL_ONLY = { rl: 1, sft: 0 };
const SFT_ONLY = { rl: 0, sft: 1 };

function expectClose(actual: readonly number[], expected: readonly number[]): void {
  expect(actual).toHaveLength(expected.length);
  for (const [i, value] of actual.entries()) expect(value).toBeCloseTo(expected[i]!, 12);
}

function advantagesOf(members: readonly OracleMember[], std: ObjectiveConfig['std']): number[] {
  const [first] = members;
  const label = first?.kind === 'label' ? { reward: first.reward, active: true } : undefined;
  const rewards = members.filter((member) => member.kind === 'rollout').map((member) => member.reward);
  const { label: own, rollouts } = groupAdvantages(label, rewards, std);
  return own === undefined ? [...rollouts] : [own, ...rollouts];
}

/** Loss and coefficients [prompt][member][T] of a batch. */
function evaluate(
  groups: readonly (readonly OracleMember[])[],
  weights: typeof RL_ONLY,
  config: ObjectiveConfig,
  sft: Aggregate,
) {
  const planned = groups.map((members) => {
    const advantages = advantagesOf(members, config.std);
    return members.map(({ kind, current }, i) => ({
      kind,
      advantage: advantages[i]!,
      tokens: current.length,
    }));
  });
  const totals = batchTotals(planned);
  const results = groups.map((members, p) =>
    planGroup(planned[p]!, totals, weights, config, sft).map((plan, i) =>
      evaluateResponse(plan, members[i]!.current, members[i]),
    ),
  );
  return {
    advantages: planned.map((members) => members.map((member) => member.advantage)),
    loss: results.flat().reduce((sum, result) => sum + result.loss, 0),
    coefficients: results.map((group) => group.map((result) => [...result.coefficients])),
  };
}

test.each(fixture.cases)('ViSurf and GRPO: $settings', ({ settings, advantages, loss, coefficients }) => {
  const { withLabels, aggregate, ...rest } = settings;
  const groups = fixture.groups.map((group) => group.filter(({ kind }) => withLabels || kind === 'rollout'));
  const actual = evaluate(groups, RL_ONLY, { ...rest, aggregate: aggregateOf(aggregate) }, SFT);
  expectClose(actual.advantages.flat(), advantages.flat());
  expect(actual.loss).toBeCloseTo(loss, 12);
  expectClose(actual.coefficients.flat(2), coefficients.flat(2));
});

test.each(fixture.sft)('SFT: $settings', ({ settings, loss, coefficients }) => {
  const labels = fixture.groups.map((group) => group.slice(0, 1));
  const [first] = fixture.cases;
  const config = {
    ...first!.settings,
    aggregate: aggregateOf(first!.settings.aggregate),
  };
  const actual = evaluate(labels, SFT_ONLY, config, aggregateOf(settings));
  expect(actual.loss).toBeCloseTo(loss, 12);
  expectClose(actual.coefficients.flat(2), coefficients.flat());
});
