/** Operations of the tiny model, counted by hand; a machine that does 10^9 of them per second. */
import { expect, test } from 'vitest';

import { subjectOf, type Changes } from '../testing/plan.ts';
import { efficiency, planTime, type Rates } from './time.ts';

const rates: Rates = { product: () => 1e9, call: 0, byte: 0 };
const { sizes } = subjectOf();
const decoder = sizes.all - sizes.vision - sizes.tables;
const head = 352 * 64;
// q k^T and its product with v: 2 operations for each of 16 elements of 4 heads in 3 layers, twice.
const attended = 4 * 16 * 4 * 3;

const planned = (changes?: Changes, given: Rates = rates) => planTime(subjectOf(changes), given);
const seconds = (operations: number): number => operations / (1e9 * efficiency.float32);

test('generation: two prompts of 20 tokens, then five tokens of four rows', () => {
  const tower = 2 * sizes.vision * 2 * 16;
  const prefill = 2 * decoder * 2 * 20 + (attended / 2) * 2 * 20 ** 2;
  const token = 4 * (2 * (decoder + head) + attended * (20 + 2.5));
  expect(planned().generation).toBeCloseTo(seconds(tower + prefill + 5 * token), 9);
  expect(planned({ workload: { group: 0, responses: 1 } }).generation).toBe(0);
});

test('update: forward and twice as much backward, over prompts once and responses', () => {
  const forward = 2 * decoder * 2 * 35 + attended * (30 * 25 + 20 ** 2);
  const tower = 2 * sizes.vision * 2 * 16;
  const { update, generation, step } = planned();
  expect(update).toBeCloseTo(seconds(3 * forward + 3 * tower + 3 * 2 * head * 30), 9);
  expect(step).toBe(update + generation);

  const again = planned({ config: { train: { checkpointActivations: true } } }).update;
  expect(again - update).toBeCloseTo(seconds(forward + tower), 9);
  const frozen = planned({ config: { train: { freezeVision: true } } }).update;
  expect(update - frozen).toBeCloseTo(seconds(3 * tower), 9);
  // Frozen weights need no gradient: one product less for each. Adapters take two, and as many again for each of both gradients.
  const lora = { config: { train: { lora: { rank: 2 } } } };
  const adapters = subjectOf(lora).sizes.trainable;
  expect(frozen - planned(lora).update).toBeCloseTo(seconds(forward - 3 * 2 * adapters * 2 * 35), 9);
  const narrow = { ...rates, product: (rows: number) => (rows <= 2 ? 1e8 : 1e9) };
  const slower = planned(lora, narrow).update - planned(lora).update;
  expect(slower).toBeCloseTo(9 * seconds(3 * 2 * adapters * 2 * 35), 9);
  const penalised = planned({ config: { objective: { kl: { coefficient: 0.1 } } } }).update;
  expect(penalised - update).toBeCloseTo(seconds(forward + 2 * head * 30), 9);
});

test('few rows are multiplied at the rate of few rows, and every operator costs its call', () => {
  const slow = planned({}, { ...rates, product: (rows) => (rows <= 4 ? 1e8 : 1e9) });
  const token = 4 * (2 * (decoder + head) + attended * (20 + 2.5));
  expect(slow.generation - planned().generation).toBeCloseTo(9 * seconds(5 * token), 9);
  expect(slow.update).toBe(planned().update);
  const calls = planned({}, { ...rates, product: () => Infinity, call: 1e-3 });
  expect(calls.generation).toBeGreaterThan(5 * 3 * 10 * 1e-3);
  expect(calls.update).toBeGreaterThan(2 * 3 * 3 * 10 * 1e-3);
});

test('gradients are added up for every micro-batch, and the optimiser reads and writes what it keeps, of which many have a share', () => {
  const bytes = 4 * sizes.trainable * 1e-9;
  const moving = { ...rates, byte: 1e-9 };
  const moved = (changes?: Changes, shards = 1): number => {
    const subject = { ...subjectOf(changes), shards };
    return planTime(subject, moving).update - planTime(subject, rates).update;
  };
  const { prompts, microBatch } = subjectOf().workload;
  const micro = Math.ceil(prompts / microBatch);
  expect(moved()).toBeCloseTo((4 * micro + 11) * bytes, 12);
  expect(moved({ config: { optimizer: { name: 'sgd' } } })).toBeCloseTo((4 * micro + 7) * bytes, 12);
  expect(moved({}, 4)).toBeCloseTo((4 * micro + 11 / 4) * bytes, 12);
});
