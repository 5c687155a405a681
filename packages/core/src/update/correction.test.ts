import { optim } from '@visurf/torch';
import { expect, test } from 'vitest';

import { parseConfig } from '../config/load.ts';
import { loadModel } from '../families/load.ts';
import type { Correction } from '../objective/mismatch.ts';
import { groupOf } from '../testing/groups.ts';
import { oracleCases, oraclePrompt, tinyModel } from '../testing/oracle.ts';
import type { Group, ScoredRollout } from '../types.ts';
import { logProbs } from './log-probs.ts';
import { updatePolicy, type UpdateResult } from './update.ts';

const found = oracleCases.find(({ responses }) => responses.length >= 3)!;
const prompt = oraclePrompt(found);
const said = found.responses.slice(0, 3).map(({ tokens }, j) => ({ tokens, advantage: [2, -1, 0.5][j]! }));
const group = groupOf('s', prompt, said, 'member');

/** log pi of every rollout's tokens, in float64. */
const scored: readonly number[][] = (() => {
  const model = loadModel(tinyModel, { dtype: 'float64' });
  try {
    return group.rollouts.map(({ response: { tokens } }) => [...logProbs(model, [{ prompt, responses: [tokens] }])]);
  } finally {
    model.dispose();
  }
})();

/** The group as if its rollouts had been sampled so far below pi_old: log mu = log pi_old - distance for every token. */
const sampledAt = (...distances: readonly number[]): Group =>
  changed((each, i) => ({
    ...each,
    response: { ...each.response, logProbs: scored[i]!.map((value) => value - distances[i]!) },
  }));

const changed = (change: (rollout: ScoredRollout, i: number) => ScoredRollout): Group => ({
  ...group,
  rollouts: group.rollouts.map(change),
});

interface Moved {
  readonly result: UpdateResult;
  readonly weights: readonly number[];
}

async function update(subject: Group, correction?: Correction, objective: object = {}): Promise<Moved> {
  const model = loadModel(tinyModel, { dtype: 'float64' });
  const parameters = model.namedParameters();
  const optimizer = new optim.SGD(parameters, { learningRate: 1 });
  try {
    const config = parseConfig({
      ...{ model: tinyModel, output: 'unused', steps: 1, data: { train: 'unused' } },
      optimizer: { name: 'sgd', learningRate: 1e-3, clipNorm: 1e12 },
      objective: { aggregate: { tokens: 'mean', over: 'batch' }, ...objective },
    });
    const result = await updatePolicy({ model, reference: undefined, parameters, optimizer }, [subject], { rl: 1, sft: 0 }, config, 1e-3, {
      ...{ seed: 0, step: 1, correction },
    }); // prettier-ignore
    return { result, weights: [...parameters.values()].flatMap((each) => [...each.toFloat64Array().slice(0, 5)]) };
  } finally {
    model.dispose();
  }
}

function expectSame(a: Moved, b: Moved): void {
  expect(a.result.loss).toBeCloseTo(b.result.loss, 12);
  a.weights.forEach((value, i) => expect(value).toBeCloseTo(b.weights[i]!, 12));
}

const scaled = (factor: number): Group => changed((each) => ({ ...each, advantage: factor * each.advantage }));

test('truncated: rollouts of half the probability count twice, at most C times, and the label once', async () => {
  const half = sampledAt(...scored.map(() => Math.log(2)));
  expectSame(await update(half, { kind: 'truncate', cap: 3 }), await update(scaled(2)));
  expectSame(await update(half, { kind: 'truncate', cap: 1.5 }), await update(scaled(1.5)));
  expectSame(await update(half, { kind: 'none', cap: 3 }), await update(group));
  expectSame(
    await update(half, { kind: 'truncate', cap: 3 }, { ratio: 'sequence' }),
    await update(scaled(2), undefined, { ratio: 'sequence' }),
  );
});

test('masked: a rollout that is too far off leaves the loss and its denominators', async () => {
  const [first, ...others] = scored.map(() => 0);
  const far = sampledAt(2 + first!, ...others);
  const masked = changed((each, i) => ({ ...each, masked: i === 0 }));
  const { result, ...moved } = await update(far, { kind: 'mask', cap: 3 });
  expectSame({ result, ...moved }, await update(masked));
  expect(result.mismatch).toMatchObject({ rollouts: scored.length, farOff: 1 });
  expectSame(await update(sampledAt(...scored.map(() => 0)), { kind: 'mask', cap: 3 }), await update(group));
});

test('what is measured, and where no rollout takes part in the update as well', async () => {
  const { result } = await update(sampledAt(...scored.map(() => 0.25)), { kind: 'truncate', cap: 1.2 });
  const tokens = scored.flat().length;
  expect(result.mismatch).toMatchObject({ tokens, capped: tokens, rollouts: scored.length });
  expect(result.mismatch!.distance / tokens).toBeCloseTo(0.25, 12);
  expect(result.mismatch!.largest).toBeCloseTo(Math.exp(0.25), 12);
  const still = { ...sampledAt(...scored.map(() => 0.25)), label: undefined };
  const equal = { ...still, rollouts: still.rollouts.map((each) => ({ ...each, advantage: 0 })) };
  const watched = await update(equal, { kind: 'truncate', cap: 3 });
  expect(watched.result.scored).toBe(0);
  expect(watched.result.mismatch!.distance / watched.result.mismatch!.tokens).toBeCloseTo(0.25, 12);
  expect((await update(group)).result.mismatch).toBeUndefined();
});
