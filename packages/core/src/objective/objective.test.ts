import fc from 'fast-check';
import { expect, test } from 'vitest';
import { groupOf, NO_PROMPT } from '../testing/groups.ts';
import { groupAdvantages } from './advantage.ts';
import type { Aggregate } from './aggregate.ts';
import {
  addTotals,
  batchTotals,
  evaluateResponse,
  planGroup,
  plannedResponses,
  type ObjectiveConfig,
  type PlannedResponse,
  type SftConfig,
} from './objective.ts';

const EXACT: Aggregate = { tokens: 'sum', over: 'sequence' }; // equation 9
const SFT: SftConfig = { aggregate: { tokens: 'mean', over: 'batch' }, weighting: 'uniform' };
const RL_ONLY = { rl: 1, sft: 0 };

const config = (changes: Partial<ObjectiveConfig> = {}): ObjectiveConfig => ({
  clip: { low: 0.2, high: 0.2 },
  std: 'sample',
  ratio: 'token',
  aggregate: EXACT,
  kl: { coefficient: 0, labels: false },
  ...changes,
});

const member = (as: PlannedResponse['as'], tokens: number, advantage: number): PlannedResponse => ({
  as,
  tokens,
  advantage,
});

/** A label of 2 tokens and rollouts of 3 and 1. */
const GROUP = [member('member', 2, 1.5), member('rollout', 3, -2), member('rollout', 1, 0.5)];
const plansOf = (members: readonly PlannedResponse[], weights = RL_ONLY, settings = config(), sft = SFT) =>
  planGroup(members, batchTotals([members]), weights, settings, sft);

test('at the old policy the coefficients are -A / (G + 1): equation 9', () => {
  const { label, rollouts } = groupAdvantages({ reward: 5, active: true }, [2.5, 1, 5.5], 'sample');
  const members = [member('member', 2, label!), ...rollouts.map((advantage) => member('rollout', 4, advantage))];
  for (const [i, plan] of plansOf(members).entries()) {
    const { coefficients, loss } = evaluateResponse(plan, Array<number>(plan.tokens).fill(-0.7));
    for (const c of coefficients) expect(c).toBeCloseTo(-members[i]!.advantage / 4, 14);
    expect(loss).toBeCloseTo((-members[i]!.advantage * plan.tokens) / 4, 14);
  }
});

test('for a group of rollouts alone they are -A / G: equation 5', () => {
  const [plan] = plansOf([member('rollout', 2, 3), member('rollout', 2, -3)]);
  expect([...evaluateResponse(plan!, [-1, -2]).coefficients]).toEqual([-1.5, -1.5]);
});

const AGGREGATES: readonly (readonly [Aggregate, (members: PlannedResponse[][]) => number[][]])[] = [
  [EXACT, (groups) => groups.map((members) => members.map(() => 1 / (members.length * groups.length)))],
  [
    { tokens: 'mean', over: 'sequence' },
    (groups) => groups.map((members) => members.map((m) => 1 / (m.tokens * members.length * groups.length))),
  ],
  [
    { tokens: 'mean', over: 'batch' },
    (groups) => {
      const all = groups.flat().reduce((sum, m) => sum + m.tokens, 0);
      return groups.map((members) => members.map(() => 1 / all));
    },
  ],
];

test.each(AGGREGATES)('weights do not depend on how the batch is cut: %j', (aggregate, expected) => {
  const groups = [GROUP, [member('rollout', 7, 1), member('rollout', 2, -1)], [member('member', 4, 0)]];
  const perProcess = [[groups[0]!], [groups[1]!, groups[2]!]].map(batchTotals);
  const totals = addTotals(perProcess[0]!, perProcess[1]!);
  expect(totals).toEqual(batchTotals(groups));
  const weights = groups.map((members) =>
    planGroup(members, totals, RL_ONLY, config({ aggregate }), SFT).map((plan) => plan.policyWeight),
  );
  expect(weights).toEqual(expected(groups));
});

test('a member without advantage is skipped where no KL acts, and stays in the denominators', () => {
  const members = [member('member', 2, 0), member('rollout', 3, 0), member('rollout', 1, 1)];
  const withKl = config({ kl: { coefficient: 0.1, labels: false } });
  const withLabelKl = config({ kl: { coefficient: 0.1, labels: true } });
  const needs = (settings: ObjectiveConfig) => plansOf(members, RL_ONLY, settings).map((plan) => plan.needsGradient);
  expect(needs(config())).toEqual([false, false, true]);
  expect(needs(withKl)).toEqual([false, true, true]);
  expect(needs(withLabelKl)).toEqual([true, true, true]);
  expect(plansOf(members)[2]!.policyWeight).toBe(1 / 3);
  const skipped = evaluateResponse(plansOf(members)[1]!, [-1, -2, -3], { old: [-5, -5, -5] });
  expect(skipped.loss + 0).toBe(0);
  expect([...skipped.coefficients].map((c) => c + 0)).toEqual([0, 0, 0]);
});

test.each(AGGREGATES)('a masked rollout has no term: %j', (aggregate) => {
  const kept = [member('member', 2, 1.5), member('rollout', 3, -2), member('rollout', 4, 0.5)];
  const masked = kept.map((each, i) => ({ ...each, masked: i === 2 }));
  const settings = config({ aggregate, kl: { coefficient: 0.1, labels: false } });
  const [before, after] = [kept, masked].map((members) => plansOf(members, { rl: 1, sft: 0.5 }, settings));
  expect(after![2]).toMatchObject({ policyWeight: 0, klWeight: 0, likelihoodWeight: 0, needsGradient: false });
  // It is one of the responses of its group still; only where tokens of the batch are counted, its own are not.
  const factor = aggregate.over === 'batch' ? 9 / 5 : 1;
  for (const i of [0, 1]) expect(after![i]!.policyWeight).toBeCloseTo(factor * before![i]!.policyWeight, 14);
  expect(after![0]!.likelihoodWeight).toBe(before![0]!.likelihoodWeight);
  expect(plansOf([{ ...member('rollout', 3, 1), masked: true }], RL_ONLY, settings)[0]!.policyWeight).toBe(0);
});

test('SFT is the mean of -log pi over the tokens of all labels: equation 1', () => {
  const groups = [[member('member', 2, 0)], [member('member', 3, 0)]];
  const weights = { rl: 0, sft: 1 };
  const losses = groups.map(([label]) => {
    const [plan] = planGroup([label!], batchTotals(groups), weights, config(), SFT);
    return evaluateResponse(plan!, Array<number>(label!.tokens).fill(-label!.tokens));
  });
  expect(losses[0]!.loss + losses[1]!.loss).toBeCloseTo((2 * 2 + 3 * 3) / 5, 14);
  expect([...losses[0]!.coefficients]).toEqual([-0.2, -0.2]);
});

test('beside rollouts, SFT has its own denominators', () => {
  const [label, rollout] = plansOf(GROUP, { rl: 0, sft: 0.5 });
  expect(label!.likelihoodWeight).toBe(0.25);
  expect(rollout!.needsGradient).toBe(false);
});

test('two inner updates with frozen old log-probabilities, by plain arithmetic', () => {
  // A policy with one log-probability per response, one token each; A = 1 and -1, M = 2, learning rate 1.
  const plans = plansOf([member('rollout', 1, 1), member('rollout', 1, -1)]);
  const old = [Math.log(0.5), Math.log(0.25)];
  const logProbs = [...old];
  const step = () => {
    for (const [i, plan] of plans.entries()) {
      logProbs[i]! -= evaluateResponse(plan, [logProbs[i]!], { old: [old[i]!] }).coefficients[0]!;
    }
  };
  step(); // ratio 1: coefficients -1/2 and 1/2
  expect(logProbs[0]).toBeCloseTo(old[0]! + 0.5, 14);
  expect(logProbs[1]).toBeCloseTo(old[1]! - 0.5, 14);
  const clipped = plans.map((plan, i) => evaluateResponse(plan, [logProbs[i]!], { old: [old[i]!] }));
  // ratios exp(0.5) > 1.2 with A > 0 and exp(-0.5) < 0.8 with A < 0: both clipped
  expect(clipped.map(({ loss }) => loss)).toEqual([-1.2 / 2, 0.8 / 2]);
  expect(clipped.map(({ stats }) => [stats.clippedLow, stats.clippedHigh])).toEqual([
    [0, 1],
    [1, 0],
  ]);
  step();
  expect(logProbs[0]).toBeCloseTo(old[0]! + 0.5, 14);
  // On the other sides of the clip nothing is cut: ratio exp(0.5) with A < 0, exp(-0.5) with A > 0.
  const [up] = plansOf([member('rollout', 1, -1), member('rollout', 1, 1)]);
  const [down] = plans;
  expect(evaluateResponse(up!, [0.5], { old: [0] }).coefficients[0]).toBeCloseTo(Math.exp(0.5) / 2, 14);
  expect(evaluateResponse(down!, [-0.5], { old: [0] }).coefficients[0]).toBeCloseTo(-Math.exp(-0.5) / 2, 14);
});

test.each(['token', 'sequence'] as const)('coefficients are the derivative of the loss, %s ratio', (ratio) => {
  const offset = fc.double({ min: -0.6, max: 0.6, noNaN: true });
  const token = fc.tuple(fc.double({ min: -4, max: -0.01, noNaN: true }), offset, offset);
  const scenario = fc.tuple(
    fc.array(token, { minLength: 1, maxLength: 5 }),
    fc.constantFrom(-1.5, 0, 2),
    fc.constantFrom(0, 0.3),
    fc.constantFrom<PlannedResponse['as']>('member', 'rollout'),
  );
  fc.assert(
    fc.property(scenario, ([tokens, advantage, coefficient, as]) => {
      const settings = config({ ratio, kl: { coefficient, labels: true } });
      const members = [member(as, tokens.length, advantage), member('rollout', 3, 1)];
      const [plan] = plansOf(members, { rl: 1, sft: 0.7 }, settings);
      const logProbs = tokens.map(([value]) => value);
      const frozen = { old: tokens.map(([v, d]) => v + d), reference: tokens.map(([v, , d]) => v + d) };
      const loss = (t: number, step: number) =>
        evaluateResponse(plan!, logProbs.with(t, logProbs[t]! + step), frozen).loss;
      const { coefficients } = evaluateResponse(plan!, logProbs, frozen);
      const mean = tokens.reduce((sum, [, d]) => sum - d, 0) / tokens.length;
      for (const t of tokens.keys()) {
        const rho = Math.exp(ratio === 'token' ? -tokens[t]![1] : mean);
        fc.pre(Math.abs(rho - 0.8) > 1e-4 && Math.abs(rho - 1.2) > 1e-4); // no derivative on the edge
        expect(coefficients[t]).toBeCloseTo((loss(t, 1e-5) - loss(t, -1e-5)) / 2e-5, 6);
      }
    }),
    { numRuns: 200 },
  );
});

test('a label that is a target leaves its group as it is: CHORD, equation 3', () => {
  const mu = 0.4;
  const weights = { rl: 1 - mu, sft: mu };
  const group = [member('target', 2, 0), member('rollout', 3, -2), member('rollout', 1, 0.5)];
  const [target, ...rollouts] = plansOf(group, weights, config(), { ...SFT, weighting: 'uncertainty' });
  // -mu sum over tokens p (1 - p) log p / 2 tokens
  const { loss, coefficients } = evaluateResponse(target!, [Math.log(0.5), Math.log(0.2)]);
  expect(loss).toBeCloseTo((-mu * (0.25 * Math.log(0.5) + 0.16 * Math.log(0.2))) / 2, 14);
  const expected = [-mu / 2 / 4, (-mu / 2) * 0.2 * 0.8];
  coefficients.forEach((c, t) => expect(c).toBeCloseTo(expected[t]!, 14));
  // Of two responses, not three: (1 - mu) A / 2.
  expect(rollouts.map(({ policyWeight }) => policyWeight)).toEqual([(1 - mu) / 2, (1 - mu) / 2]);
  expect(evaluateResponse(rollouts[1]!, [-1]).coefficients[0]).toBeCloseTo(-(1 - mu) * 0.5 * 0.5, 14);
  expect(target!.policyWeight).toBe(0);
});

test('targets and groups have denominators of their own: data mixing', () => {
  const groups = [
    [member('target', 3, 0)],
    [member('target', 1, 0)],
    [member('rollout', 2, 1), member('rollout', 2, -1)],
  ];
  const totals = batchTotals(groups);
  expect(totals).toEqual({ rl: { prompts: 1, tokens: 4 }, sft: { prompts: 2, tokens: 4 } });
  const plans = groups.map((each) => planGroup(each, totals, { rl: 1 / 3, sft: 2 / 3 }, config(), SFT));
  expect(plans[0]![0]!.likelihoodWeight).toBeCloseTo(2 / 3 / 4, 14);
  expect(plans[2]![0]!.policyWeight).toBeCloseTo(1 / 3 / 2, 14);
});

test('a batch of targets alone has no policy term, however tokens are counted', () => {
  const overBatch = config({ aggregate: { tokens: 'mean', over: 'batch' } });
  const [plan] = plansOf([member('target', 2, 0)], { rl: 0, sft: 1 }, overBatch);
  expect(plan).toMatchObject({ policyWeight: 0, klWeight: 0, likelihoodWeight: 0.5 });
});

test('the shaped ratio is that of labels alone; its coefficients are the derivative of the loss: LUFFY, equation 6', () => {
  const [label, rollout] = plansOf(GROUP, RL_ONLY, config({ labelShaping: 0.1 }));
  const at = [Math.log(0.3), Math.log(0.02)];
  const { loss, coefficients } = evaluateResponse(label!, at, { old: [-9, -9] });
  expect(loss).toBeCloseTo((-1.5 / 3) * (0.3 / 0.4 + 0.02 / 0.12), 14);
  for (const t of at.keys()) {
    const moved = (step: number) => evaluateResponse(label!, at.with(t, at[t]! + step)).loss;
    expect(coefficients[t]).toBeCloseTo((moved(1e-5) - moved(-1e-5)) / 2e-5, 8);
  }
  expect(evaluateResponse(rollout!, [-1, -1, -1]).coefficients[0]).toBeCloseTo(2 / 3, 14);
});

// Published variants of GRPO as settings; rewards 1, 0, 0 of responses with 1, 2 and 3 tokens, at the old policy.
test.each<[string, Partial<ObjectiveConfig>, Parameters<typeof groupAdvantages>[3], number[]]>([
  // A / (T G) with A = (r - mean) / std, std = sqrt(1/3)
  ['GRPO', { aggregate: { tokens: 'mean', over: 'sequence' } }, 'mean', [2 / Math.sqrt(3) / 3, -1 / Math.sqrt(3) / 6, -1 / Math.sqrt(3) / 9]], // prettier-ignore
  // (r - mean) / (L G), L = 10
  ['Dr.GRPO', { std: 'none', aggregate: { tokens: 'sum', over: 'sequence', normalizer: 10 } }, 'mean', [2 / 90, -1 / 90, -1 / 90]], // prettier-ignore
  // A / (sum of tokens)
  ['DAPO', { clip: { low: 0.2, high: 0.28 }, aggregate: { tokens: 'mean', over: 'batch' } }, 'mean', [2 / Math.sqrt(3) / 6, -1 / Math.sqrt(3) / 6, -1 / Math.sqrt(3) / 6]], // prettier-ignore
  // s A / T / G
  ['GSPO', { ratio: 'sequence', aggregate: { tokens: 'mean', over: 'sequence' } }, 'mean', [2 / Math.sqrt(3) / 3, -1 / Math.sqrt(3) / 6, -1 / Math.sqrt(3) / 9]], // prettier-ignore
  // (r - mean of the others) / G
  ['RLOO', { std: 'none' }, 'leave-one-out', [1 / 3, -1 / 6, -1 / 6]],
])('%s', (_, changes, baseline, gradient) => {
  const settings = config(changes);
  const { rollouts } = groupAdvantages(undefined, [1, 0, 0], settings.std, baseline);
  const members = rollouts.map((advantage, i) => member('rollout', i + 1, advantage));
  plansOf(members, RL_ONLY, settings).forEach((plan, i) => {
    const logProbs = Array<number>(i + 1).fill(-0.3);
    const { coefficients } = evaluateResponse(plan, logProbs, { old: logProbs });
    for (const c of coefficients) expect(-c).toBeCloseTo(gradient[i]!, 5);
  });
});

test('DAPO clips higher: a ratio of 1.25 still learns, one of 1.29 does not', () => {
  const [plan] = plansOf([member('rollout', 1, 1), member('rollout', 1, -1)], RL_ONLY, config({ clip: { low: 0.2, high: 0.28 } })); // prettier-ignore
  const slope = (ratio: number) => evaluateResponse(plan!, [Math.log(ratio)], { old: [0] }).coefficients[0]! + 0;
  expect([slope(1.25), slope(1.29)]).toEqual([expect.closeTo(-1.25 / 2, 12), 0]);
});

test('GSPO clips the whole response by its geometric mean', () => {
  const [plan] = plansOf([member('rollout', 2, 1), member('rollout', 2, -1)], RL_ONLY, config({ ratio: 'sequence' }));
  const at = (...ratios: number[]) => evaluateResponse(plan!, ratios.map(Math.log), { old: [0, 0] }).coefficients;
  // sqrt(2 * 0.6) = 1.095 is inside, though 2 is not; sqrt(2 * 0.8) = 1.265 is not, though 0.8 is.
  for (const c of at(2, 0.6)) expect(c).toBeCloseTo(-Math.sqrt(1.2) / 2, 12);
  expect([...at(2, 0.8)].map((c) => c + 0)).toEqual([0, 0]);
});

test('mismatched lengths and a missing reference are bugs', () => {
  const [label, rollout] = plansOf(GROUP, RL_ONLY, config({ kl: { coefficient: 1, labels: false } }));
  expect(() => evaluateResponse(label!, [-1])).toThrow('1 values for a response of 2 tokens');
  expect(() => evaluateResponse(label!, [-1, -1], { old: [-1] })).toThrow('old');
  expect(() => evaluateResponse(rollout!, [-1, -1, -1])).toThrow('reference');
});

test('the loss knows the label first, by its place, then the rollouts; a label that stayed aside is none of it', () => {
  const group = groupOf(
    'a',
    NO_PROMPT,
    [
      { tokens: [1, 2], advantage: 1.5 },
      { tokens: [1, 2, 3], advantage: -2 },
    ],
    'member',
  );
  const [label, rollout] = [group.label!, group.rollouts[0]!];
  const { response } = rollout;
  const said = { as: 'rollout', response, advantage: -2, masked: false, tokens: 3, sampled: response.logProbs };
  for (const place of ['member', 'target'] as const) {
    expect(plannedResponses({ ...group, label: { ...label, place } })).toEqual([
      { as: place, response: label.response, advantage: 1.5, tokens: 2 },
      said,
    ]);
  }
  expect(plannedResponses({ ...group, label: { ...label, place: 'aside' } })).toEqual([said]);
  expect(plannedResponses({ rollouts: [{ ...rollout, masked: true }] })).toEqual([{ ...said, masked: true }]);
});

test('a label that is imitated needs its gradient, whatever its advantage', () => {
  const [target] = plansOf([member('target', 2, 0)], { rl: 0, sft: 1 });
  expect(target!.needsGradient).toBe(true);
  const [weightless] = plansOf([member('target', 2, 0)], { rl: 1, sft: 0 });
  expect(weightless!.needsGradient).toBe(false);
});

test('a response that weighs nothing loses nothing, even where its ratio overflows', () => {
  const [, masked] = plansOf([GROUP[0]!, { ...member('rollout', 1, -2), masked: true }, GROUP[2]!]);
  const { loss, coefficients, stats } = evaluateResponse(masked!, [800], { old: [-800] });
  expect([loss, coefficients[0]].map((value) => value! + 0)).toEqual([0, 0]);
  expect(stats.klClamped).toBe(0);
});

test('tokens whose k3 was bounded are counted', () => {
  const [, plan] = plansOf(GROUP, RL_ONLY, config({ kl: { coefficient: 0.1, labels: false } }));
  const { stats } = evaluateResponse(plan!, [-1, -30, -30], { reference: [-1, -1, -1] });
  expect([stats.klTokens, stats.klClamped]).toEqual([3, 2]);
  const [unpenalised] = plansOf(GROUP, RL_ONLY, config());
  expect(evaluateResponse(unpenalised!, Array<number>(unpenalised!.tokens).fill(-1)).stats.klTokens).toBe(0);
});
