import { optim, scope } from '@visurf/torch';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';

import { parseConfig } from '../config/load.ts';
import { loadModel } from '../families/load.ts';
import type { VisionLanguageModel } from '../model/vlm.ts';
import { groupAdvantages } from '../objective/advantage.ts';
import { plannedResponses } from '../objective/objective.ts';
import { groupOf } from '../testing/groups.ts';
import { oracleCases, oraclePrompt, tinyModel } from '../testing/oracle.ts';
import type { Group, Label } from '../types.ts';
import { inactiveLogProb, responseLogProbs } from './log-probs.ts';
import { updatePolicy, type Learner } from './update.ts';

const config = (overrides: Record<string, unknown> = {}): ReturnType<typeof parseConfig> =>
  parseConfig({
    model: tinyModel,
    output: 'unused',
    steps: 1,
    data: { train: 'unused' },
    optimizer: { name: 'sgd', learningRate: 1, clipNorm: 1e12 },
    objective: { aggregate: { tokens: 'sum', over: 'sequence', normalizer: 1 } },
    ...overrides,
  });

/** The first response is the label; rewards as given. */
function group(name: string, rewards: readonly number[], label: boolean): Group {
  const found = oracleCases.find((each) => each.name === name);
  if (!found) throw new Error(`no case ${name}`);
  const [first = 0, ...rest] = rewards;
  const { label: labelAdvantage = 0, rollouts } = groupAdvantages(
    label ? { reward: first, active: true } : undefined,
    label ? rest : rewards,
    'sample',
  );
  const advantages = label ? [labelAdvantage, ...rollouts] : rollouts;
  const said = found.responses.map(({ tokens }, j) => ({ tokens, advantage: advantages[j] ?? 0 }));
  return groupOf(name, oraclePrompt(found), said, label ? 'member' : undefined);
}

let model: VisionLanguageModel;
let learner: Learner;
beforeEach(() => {
  model = loadModel(tinyModel, { dtype: 'float64' });
  const parameters = model.namedParameters();
  learner = { model, reference: undefined, parameters, optimizer: new optim.SGD(parameters, { learningRate: 1 }) };
});
afterEach(() => model.dispose());

const weights = (): Map<string, Float64Array> =>
  new Map([...model.namedParameters()].map(([key, each]) => [key, each.toFloat64Array()]));

type Planned = ReturnType<typeof plannedResponses>[number];

/** sum over responses of coefficient * grad log pi(response), each computed alone. */
function gradientSum(
  groups: readonly Group[],
  coefficient: (response: Planned, group: Group) => number,
): Map<string, Float64Array> {
  for (const each of groups) {
    for (const planned of plannedResponses(each)) {
      scope(() => {
        const { hidden, targets } = model.hidden([{ prompt: each.prompt, responses: [planned.response.tokens] }]);
        hidden.backward(
          model.score(hidden, targets).pullback(new Float64Array(targets.length).fill(coefficient(planned, each))),
        );
      });
    }
  }
  const result = new Map(
    [...model.namedParameters()].map(([key, each]) => [
      key,
      each.grad?.toFloat64Array() ?? new Float64Array(each.numel),
    ]),
  );
  for (const each of model.parameters()) each.grad = undefined;
  return result;
}

function expectMoved(before: Map<string, Float64Array>, gradient: Map<string, Float64Array>): void {
  for (const [key, after] of weights()) {
    const start = before.get(key) ?? [];
    const expected = gradient.get(key) ?? new Float64Array();
    const scale = expected.reduce((m, v) => Math.max(m, Math.abs(v)), 1e-9);
    after.forEach((value, i) =>
      expect(Math.abs((start[i] ?? 0) - value - (expected[i] ?? 0)) / scale, key).toBeLessThan(1e-8),
    );
  }
}

describe('equation 10: at pi = pi_old the gradient of (8) is that of rollouts and of the label, response by response', () => {
  test.each([
    ['visurf', true],
    ['rlvr', false],
  ] as const)('%s', async (_, label) => {
    const groups = [group('two-images', [1, 0, 0], label), group('small-image', [2, 0.5, 3], label)];
    const before = weights();
    const expected = gradientSum(groups, ({ advantage }) => -advantage / 3 / groups.length);
    const result = await updatePolicy(learner, groups, { rl: 1, sft: 0 }, config(), 1);
    expectMoved(before, expected);
    expect(result.scored).toBe(6);
    const found = oracleCases.find(({ name }) => name === 'two-images')?.responses[0]?.logProbs64 ?? [];
    found.forEach((value, t) =>
      expect(result.oldLogProbs.get(plannedResponses(groups[0]!)[0]!.response)?.[t]).toBeCloseTo(value, 8),
    );
  });

  test('micro-batches of one prompt give the same update; zero advantages are skipped and stay in the denominators', async () => {
    const groups = [
      group('two-images', [1, 0, 0], true),
      group('text-only', [1, 1, 1], true),
      group('small-image', [2, 0.5, 3], true),
    ];
    const before = weights();
    const expected = gradientSum(groups, ({ advantage }) => -advantage / 9);
    const result = await updatePolicy(
      learner,
      groups,
      { rl: 1, sft: 0 },
      config({ train: { microBatch: { prompts: 1 } } }),
      1,
    );
    expectMoved(before, expected);
    expect([result.scored, result.responses]).toEqual([6, 9]);
  });
});

test('equation 1: SFT is the mean negative log-likelihood over the tokens of the labels', async () => {
  const groups = [group('two-images', [0, 0, 0], true), group('small-image', [0, 0, 0], true)].map((each) => ({
    ...each,
    rollouts: [],
  }));
  const tokens = groups.reduce((sum, { label }) => sum + (label?.response.tokens.length ?? 0), 0);
  const before = weights();
  const expected = gradientSum(groups, () => -1 / tokens);
  await updatePolicy(learner, groups, { rl: 0, sft: 1 }, config(), 1);
  expectMoved(before, expected);
});

test('two inner updates: the second uses the frozen log-probabilities of the first policy, and clips', async () => {
  const groups = [group('small-image', [2, 0.5, 3], false)];
  const settings = config({
    objective: { updatesPerBatch: 2, aggregate: { tokens: 'sum', over: 'sequence', normalizer: 1 } },
  });
  const result = await updatePolicy(learner, groups, { rl: 1, sft: 0 }, settings, 1e-4);
  expect(result.stats.ratioSum / result.stats.tokens).not.toBe(1);
  const first = await updatePolicy(learner, groups, { rl: 1, sft: 0 }, config(), 1e-9);
  expect(first.stats.ratioSum / first.stats.tokens).toBe(1);
});

test('a loss that is not finite is an error that names the samples, and the weights stay', async () => {
  const groups = [group('small-image', [2, 0.5, 3], false)];
  scope(() => model.model.norm.weight.detach().fill_(NaN));
  const before = weights();
  await expect(updatePolicy(learner, groups, { rl: 1, sft: 0 }, config(), 1)).rejects.toThrow(
    /small-image: the loss is NaN/,
  );
  for (const [key, after] of weights()) expect(after).toEqual(before.get(key));
  const skipped = await updatePolicy(learner, groups, { rl: 1, sft: 0 }, config({ onNonFinite: 'skip' }), 1);
  expect(skipped).toMatchObject({
    loss: NaN,
    gradientNorm: NaN,
    nonFinite: expect.stringContaining('loss is NaN') as string,
  });
  for (const [key, after] of weights()) expect(after).toEqual(before.get(key));
});

test('with KL to a reference equal to the policy nothing is added; to another it is', async () => {
  const groups = [group('small-image', [1, 1, 1], false)];
  const reference = loadModel(tinyModel, { dtype: 'float64' });
  const settings = config({
    objective: { kl: { coefficient: 0.1 }, aggregate: { tokens: 'sum', over: 'sequence', normalizer: 1 } },
  });
  const same = await updatePolicy({ ...learner, reference }, groups, { rl: 1, sft: 0 }, settings, 1e-9);
  expect([same.scored, same.loss]).toEqual([3, 0]);
  scope(() => reference.model.norm.weight.detach().mul_(1.1));
  const other = await updatePolicy({ ...learner, reference }, groups, { rl: 1, sft: 0 }, settings, 1e-9);
  expect(other.loss).toBeGreaterThan(0);
  expect(other.stats.klClamped).toBe(0);
  // A reference that finds what is said all but impossible: the penalty is bounded, and says so.
  scope(() => reference.model.norm.weight.detach().mul_(300));
  const far = await updatePolicy({ ...learner, reference }, groups, { rl: 1, sft: 0 }, settings, 1e-9);
  expect(far.stats.klClamped).toBeGreaterThan(0);
  expect(far.stats.klSum / far.stats.tokens).toBeLessThan(Math.exp(10));
  reference.dispose();
});

test('log pi of labels that control switched off is that of members alone, of as many as asked for', async () => {
  const names = ['two-images', 'small-image', 'text-only'];
  const groups = names.map((name) => group(name, [1, 0, 0], true));
  const off = (each: Group, changes: Partial<Label>): Group => ({ ...each, label: { ...each.label!, ...changes } });
  const total = ({ prompt, label }: Group): number => responseLogProbs(model, prompt, [label!.response])[0]!;
  const [a, b, c] = groups as [Group, Group, Group];
  const placed = (groups: readonly Group[]) => groups.map((each, place) => ({ place, group: each }));
  const inactive = placed([off(a, { active: false }), b, off(c, { active: false })]);
  expect(await inactiveLogProb(model, inactive, 8)).toBeCloseTo((total(a) + total(c)) / 2, 8);
  expect(await inactiveLogProb(model, inactive, 1)).toBeCloseTo(total(a), 8);
  expect(
    await inactiveLogProb(
      model,
      placed([a, off(b, { place: 'aside', active: false }), off(c, { place: 'target' })]),
      8,
    ),
  ).toBeNaN();
});
