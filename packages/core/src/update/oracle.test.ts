/** Four updates on one batch against plain PyTorch; expected values made by oracle/updates.py. Float64. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { scope } from '@visurf/torch';
import { expect, test } from 'vitest';
import { parseConfig } from '../config/load.ts';
import { loadModel } from '../model/load.ts';
import { groupAdvantages } from '../objective/advantage.ts';
import type { ObjectiveConfig } from '../objective/objective.ts';
import { fixtures, oracleCases, oraclePrompt, tinyModel } from '../testing/oracle.ts';
import type { Group, Member } from '../types.ts';
import { makeOptimizer, trainable } from './optimizer.ts';
import { updatePolicy } from './update.ts';

interface Expected {
  readonly settings: {
    readonly learningRate: number;
    readonly betas?: [number, number];
    readonly weightDecay?: number;
  };
  readonly updates: readonly { loss: number; gradientNorm: number; totals: number[][] }[];
  readonly parameters: Readonly<Record<string, { moved: number; samples: number[] }>>;
}

interface Fixture {
  readonly rewards: Readonly<Record<string, readonly [number, number, number]>>;
  readonly objective: ObjectiveConfig;
  readonly clipNorm: number;
  readonly optimizers: Readonly<Record<'adamw' | 'sgd', Expected>>;
}

const file = join(fixtures, 'tiny-qwen2_5-vl', 'updates.json');
const fixture = JSON.parse(readFileSync(file, 'utf8')) as Fixture;

/** Each case is a group: the label, then two rollouts. */
const groups = oracleCases.map((each): Group => {
  const [label, ...rollouts] = fixture.rewards[each.name]!;
  const advantages = groupAdvantages({ reward: label, active: true }, rollouts, fixture.objective.std);
  const members = each.responses.map(({ tokens }, j): Member => ({
    kind: j === 0 ? 'label' : 'rollout',
    response: { tokens, text: '', stop: 'eos' },
    terms: {},
    reward: fixture.rewards[each.name]![j]!,
    advantage: (j === 0 ? advantages.label : advantages.rollouts[j - 1]) ?? 0,
  }));
  const source = { file: 'cases.json', line: 1 };
  const sample = { id: each.name, images: [], problem: '', solution: '', task: 'none', extra: {}, source };
  return { sample, prompt: oraclePrompt(each), members, label: { form: 'only', active: true } };
});

const relative = (actual: number, expected: number): number =>
  Math.abs(actual - expected) / Math.max(Math.abs(expected), 1e-9);

test.each(['adamw', 'sgd'] as const)('four updates with %s end where PyTorch ends', async (name) => {
  const { settings, updates, parameters: after } = fixture.optimizers[name];
  const { std, ratio, clip, kl, aggregate } = fixture.objective;
  const config = parseConfig({
    model: tinyModel,
    output: 'unused',
    data: { train: 'unused' },
    steps: 1,
    objective: { std, ratio, clip, kl, aggregate, updatesPerBatch: updates.length },
    optimizer: { name, clipNorm: fixture.clipNorm, ...settings, weightDecay: settings.weightDecay ?? 0 },
    train: { microBatch: { prompts: 3 } },
  });
  const model = loadModel(tinyModel, { dtype: 'float64' });
  const reference = loadModel(tinyModel, { dtype: 'float64' });
  const parameters = trainable(model, config.train);
  const optimizer = makeOptimizer(parameters, config.optimizer);
  const learner = { model, reference, parameters, optimizer };
  const { learningRate } = settings;
  const result = await updatePolicy(learner, groups, { rl: 1, sft: 0 }, config, learningRate);

  result.oldLogProbs.forEach((members, b) =>
    members.forEach((values, j) => {
      const total = values?.reduce((a, b) => a + b, 0);
      if (total !== undefined) expect(relative(total, updates[0]!.totals[b]![j]!)).toBeLessThan(1e-9);
    }),
  );
  const last = updates.at(-1)!;
  expect(relative(result.loss, last.loss)).toBeLessThan(1e-7);
  expect(relative(result.gradientNorm, last.gradientNorm)).toBeLessThan(1e-7);
  const before = new Map(reference.namedParameters());
  scope(() => {
    for (const [key, parameter] of parameters) {
      const expected = after[key]!;
      const moved = parameter.detach().sub(before.get(key)!.detach()).norm().item();
      expect(relative(moved, expected.moved), key).toBeLessThan(1e-6);
      const flat = parameter.detach().toFloat64Array();
      const stride = Math.max(1, Math.floor(flat.length / 8));
      for (const [i, value] of expected.samples.entries()) {
        expect(Math.abs(flat[i * stride]! - value), `${key}[${i * stride}]`).toBeLessThan(1e-9);
      }
    }
  });
  optimizer.dispose();
  model.dispose();
  reference.dispose();
});
