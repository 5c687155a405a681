/** Time on a card: what binds a phase follows the machine, and phases add up. */
import { expect, test } from 'vitest';

import { subjectOf, type Changes } from '../testing/plan.ts';
import { hasten, perPixel, planCardTime, reachedHost } from './card.ts';
import type { CardMachine } from './machines.ts';

const machine: CardMachine = {
  ...{ name: 'even', memory: 80e9, hostMemory: 80e9, bandwidth: 1e12, launch: 1e-6, link: 1e11, price: undefined },
  rates: { bfloat16: 1e14, float32: 1e13, float64: 1e12 },
};
const timeOf = (changes: Changes = {}, given: Partial<CardMachine> = {}) =>
  planCardTime(
    subjectOf({ ...changes, config: { device: 'cuda', ...changes.config } }),
    { ...machine, ...given },
    1000,
  );

test('phases add up to the step, its two halves too, and no phase is free', () => {
  const { step, generation, update, communication, phases } = timeOf();
  expect(phases.reduce((sum, { seconds }) => sum + seconds, 0)).toBeCloseTo(step, 12);
  expect(generation + update + communication).toBeCloseTo(step, 12);
  expect(phases.every(({ seconds }) => seconds > 0)).toBe(true);
});

test.each([
  ['launches', { launch: 1 }],
  ['bandwidth', { bandwidth: 1e3 }],
  ['operations', { rates: { bfloat16: 1e3, float32: 1e3, float64: 1e12 } }],
] as const)('where %s are dear, they bind', (binds, given) => {
  const { phases } = timeOf({}, given);
  const longest = phases.reduce((a, b) => (b.seconds > a.seconds ? b : a));
  expect(longest.binds).toBe(binds);
  expect(hasten(phases)).toContain(`bound by ${binds}`);
});

test('a step takes no longer on a machine that is better in everything', () => {
  const better = { bandwidth: 2e12, launch: 5e-7, rates: { bfloat16: 2e14, float32: 2e13, float64: 1e12 } };
  // But for what the host does: two prompts of 16 patches of 14 x 14 pixels.
  const host = 2 * 16 * 14 ** 2 * perPixel;
  expect(timeOf({}, better).step - host).toBeCloseTo((timeOf().step - host) / 2, 12);
});

test('without rollouts there is no generation; recomputing, a penalty and more updates take longer', () => {
  expect(timeOf({ workload: { group: 0, responses: 1 } }).generation).toBe(0);
  const { update } = timeOf();
  for (const config of [
    { train: { checkpointActivations: true } },
    { optimizer: { states: '8bit' } },
    { objective: { kl: { coefficient: 0.1 } } },
    { objective: { updatesPerBatch: 2 } },
  ])
    expect(timeOf({ config }).update).toBeGreaterThan(update);
});

test('streams that wait on the host pay for their way, there and back', () => {
  const train = { checkpointActivations: true };
  const { update } = timeOf({ config: { train } });
  const { update: offloaded, phases } = timeOf({ config: { train: { ...train, offloadActivations: true } } });
  // Of two micro-batches of 35 tokens 64 wide before 3 layers, and of 16 patches 32 wide before 3 blocks.
  const seconds = (2 * 4 * 2 * (35 * 64 * 3 + 16 * 32 * 3)) / reachedHost;
  expect(phases.find(({ name }) => name.startsWith('streams'))?.seconds).toBeCloseTo(seconds, 15);
  expect(offloaded - update).toBeCloseTo(seconds, 15);
});

test('a token of the 3B with LoRA launches the 1,381 kernels that are counted', () => {
  const launch = 1;
  const subject = subjectOf({ config: { device: 'cuda', train: { lora: { rank: 2 } } } });
  const large = { ...subject, model: { ...subject.model, text: { ...subject.model.text, layers: 36 } } };
  const { phases } = planCardTime(large, { ...machine, launch }, 1000);
  const decoding = phases.filter(({ name }) => name.startsWith('decoding'));
  expect(decoding.reduce((sum, { seconds }) => sum + seconds, 0)).toBeCloseTo(5 * 1381, 4);
});

test('where there is room, weights in four bits are unpacked once for a rollout, and not for every token', () => {
  const config = { device: 'cuda', train: { lora: { rank: 2, quantize: 'nf4' } } };
  const [short, roomy] = [0, 80e9].map((card) => planCardTime({ ...subjectOf({ config }), card }, machine, 1000));
  expect(short!.generation).toBeGreaterThan(roomy!.generation);
  expect(short!.update).toBe(roomy!.update);
  const plain = planCardTime(subjectOf({ config: { device: 'cuda', train: { lora: { rank: 2 } } } }), machine, 1000);
  const tokens = (phases: typeof plain.phases): number =>
    phases.filter(({ name }) => name === 'decoding: products').reduce((sum, { seconds }) => sum + seconds, 0);
  expect(tokens(roomy!.phases)).toBeLessThan((tokens(short!.phases) + 5 * tokens(plain.phases)) / 2);
});
