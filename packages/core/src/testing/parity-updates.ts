/**
 * Golden numbers: four ViSurf updates on one committed batch, as plain PyTorch makes them (oracle/updates.py): frozen
 * old and reference log-probabilities, clip on both sides, KL, gradient clipping.
 */
import { readFileSync } from 'node:fs';
import path from 'node:path';

import { scope } from '@visurf/torch';

import { parseConfig } from '../config/load.ts';
import { loadModel } from '../families/load.ts';
import { groupAdvantages } from '../objective/advantage.ts';
import type { Group } from '../types.ts';
import { makeOptimizer } from '../update/optimizer.ts';
import { updatePolicy } from '../update/update.ts';
import { largest, worst, type Comparison } from './comparison.ts';
import { groupOf } from './groups.ts';
import { fixtures, oracleCases, oraclePrompt, tinyModel } from './oracle.ts';

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
  const said = found.responses.map(({ tokens }, j) => {
    return { tokens, advantage: [advantages.label ?? NaN, ...advantages.rollouts][j] ?? NaN };
  });
  return groupOf(name, oraclePrompt(found), said, 'member');
});

const relative = (found: number, expected: number): number =>
  Math.abs(found - expected) / Math.max(Math.abs(expected), 1e-6);

/** How far the last update's loss and gradient norm are, how far parameters moved, and where they are. */
export async function compareUpdates(name: 'adamw' | 'sgd', dtype: 'float32' | 'float64'): Promise<Comparison[]> {
  const expected = golden.optimizers[name];
  const { clip, kl, aggregate } = golden.objective;
  const config = parseConfig({
    model: tinyModel,
    output: 'unused',
    steps: 1,
    data: { train: 'unused' },
    objective: { clip, kl, aggregate, updatesPerBatch: expected.updates.length },
    optimizer: { name, clipNorm: golden.clipNorm, ...expected.settings },
  });
  const model = loadModel(tinyModel, { dtype });
  const reference = loadModel(tinyModel, { dtype });
  const parameters = model.namedParameters();
  const before = new Map([...parameters].map(([key, each]) => [key, each.toFloat64Array()]));
  const optimizer = makeOptimizer(parameters, config.optimizer);
  const learner = { model, reference, parameters, optimizer };
  const result = await updatePolicy(learner, groups, { rl: 1, sft: 0 }, config, expected.settings.learningRate);

  const last = expected.updates.at(-1)!;
  const [moves, places]: [number[], number[]] = [[], []];
  for (const [key, { moved, samples }] of Object.entries(expected.parameters)) {
    const after = scope(() => parameters.get(key)?.toFloat64Array() ?? new Float64Array());
    const start = before.get(key) ?? after;
    moves.push(relative(Math.hypot(...after.map((each, i) => each - (start[i] ?? NaN))), moved));
    const stride = Math.max(1, Math.floor(after.length / 8));
    places.push(largest(samples.map((_, i) => after[i * stride] ?? NaN), samples)); // prettier-ignore
  }
  optimizer.dispose();
  reference.dispose();
  model.dispose();
  const tolerance = dtype === 'float64' ? 1e-6 : 1e-3;
  const which = `four ViSurf updates, ${name === 'sgd' ? 'SGD' : 'AdamW'}, ${dtype}`;
  const losses = [relative(result.loss, last.loss), relative(result.gradientNorm, last.gradientNorm)];
  return [
    { subject: `${which}: loss, gradient norm`, measure: 'relative', tolerance, distance: worst(losses) },
    { subject: `${which}: way of parameters`, measure: 'relative', tolerance: 10 * tolerance, distance: worst(moves) },
    { subject: `${which}: parameters`, measure: 'absolute', tolerance, distance: worst(places) },
  ];
}
