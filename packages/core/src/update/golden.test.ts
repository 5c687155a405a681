/**
 * Golden numbers: four ViSurf updates on one committed batch, as plain PyTorch makes them (oracle/updates.py): frozen
 * old and reference log-probabilities, clip on both sides, KL, gradient clipping. A refactor must not move them.
 */
import { readFileSync } from 'node:fs';
import path from 'node:path';

import { scope } from '@visurf/torch';
import { expect, test } from 'vitest';

import { parseConfig } from '../config/load.ts';
import { loadModel } from '../model/load.ts';
import { groupAdvantages } from '../objective/advantage.ts';
import { fixtures, oracleCases, oraclePrompt, tinyModel } from '../testing/oracle.ts';
import type { Group, Member } from '../types.ts';
import { makeOptimizer } from './optimizer.ts';
import { updatePolicy } from './update.ts';

interface Golden {
  readonly rewards: Record<string, number[]>;
  readonly objective: { clip: object; std: 'sample'; kl: object; aggregate: object };
  readonly clipNorm: number;
  readonly optimizers: Record<
    'adamw' | 'sgd',
    {
      readonly settings: { learningRate: number };
      readonly updates: { loss: number; gradientNorm: number }[];
      readonly parameters: Record<string, { moved: number; samples: number[] }>;
    }
  >;
}

const golden = JSON.parse(readFileSync(path.join(fixtures, 'tiny-qwen2_5-vl', 'updates.json'), 'utf8')) as Golden;

const groups = Object.entries(golden.rewards).map(([name, [label = 0, ...rollouts]]): Group => {
  const found = oracleCases.find((each) => each.name === name);
  if (!found) throw new Error(`no case ${name}`);
  const advantages = groupAdvantages({ reward: label, active: true }, rollouts, golden.objective.std);
  const members = found.responses.map(({ tokens }, j): Member => ({
    kind: j === 0 ? 'label' : 'rollout',
    response: { tokens, text: '', stop: 'eos' },
    terms: {},
    reward: [label, ...rollouts][j] ?? NaN,
    advantage: [advantages.label ?? NaN, ...advantages.rollouts][j] ?? NaN,
  }));
  const sample = {
    id: name,
    images: [],
    problem: '',
    solution: '',
    task: '',
    extra: {},
    source: { file: '', line: 0 },
  };
  return { sample, prompt: oraclePrompt(found), members, label: { form: '', active: true } };
});

const relative = (found: number, expected: number): number =>
  Math.abs(found - expected) / Math.max(Math.abs(expected), 1e-6);

test.each([
  ['adamw', 'float64', 1e-6],
  ['sgd', 'float64', 1e-6],
  ['adamw', 'float32', 1e-3],
  ['sgd', 'float32', 1e-3],
] as const)('%s, %s', async (name, dtype, tolerance) => {
  const expected = golden.optimizers[name];
  const config = parseConfig({
    model: tinyModel,
    output: 'unused',
    steps: 1,
    data: { train: 'unused' },
    objective: {
      clip: golden.objective.clip,
      kl: golden.objective.kl,
      aggregate: golden.objective.aggregate,
      updatesPerBatch: expected.updates.length,
    },
    optimizer: { name, clipNorm: golden.clipNorm, ...expected.settings },
  });
  const model = loadModel(tinyModel, { dtype });
  const reference = loadModel(tinyModel, { dtype });
  const parameters = model.namedParameters();
  const before = new Map([...parameters].map(([key, each]) => [key, each.toFloat64Array()]));
  const optimizer = makeOptimizer(parameters, config.optimizer);
  const result = await updatePolicy(
    { model, reference, parameters, optimizer },
    groups,
    { rl: 1, sft: 0 },
    config,
    expected.settings.learningRate,
  );

  const last = expected.updates.at(-1);
  expect(relative(result.loss, last?.loss ?? NaN)).toBeLessThan(tolerance);
  expect(relative(result.gradientNorm, last?.gradientNorm ?? NaN)).toBeLessThan(tolerance);
  for (const [key, { moved, samples }] of Object.entries(expected.parameters)) {
    const after = scope(() => parameters.get(key)?.toFloat64Array() ?? new Float64Array());
    const start = before.get(key) ?? after;
    expect(relative(Math.hypot(...after.map((each, i) => each - (start[i] ?? NaN))), moved), key).toBeLessThan(
      10 * tolerance,
    );
    const stride = Math.max(1, Math.floor(after.length / 8));
    samples.forEach((value, i) => expect(Math.abs((after[i * stride] ?? NaN) - value), key).toBeLessThan(tolerance));
  }
  optimizer.dispose();
  reference.dispose();
  model.dispose();
});
