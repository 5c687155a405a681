/** Several cards: what they share, what that costs, and what holds for every number of them. */
import { expect, test } from 'vitest';

import { UserError } from '../errors.ts';
import { subjectOf, type Changes } from '../testing/plan.ts';
import { planCardTime } from './card.ts';
import { efficiencies, parseNetwork, planCardsTime, shareOf, type Fleet } from './cards.ts';
import { findMachine, machineNames, type CardMachine } from './machines.ts';
import { planMemory } from './memory.ts';
import type { Part } from './parts.ts';
import { planServers } from './servers.ts';
import type { Subject } from './workload.ts';

/** Modes that differ in what cards share or send. */
const modes: Readonly<Record<string, object>> = {
  full: {},
  'full in bfloat16': { precision: 'bfloat16' },
  'full in bfloat16, frozen tower, 8-bit moments': {
    ...{ precision: 'bfloat16', train: { freezeVision: true }, optimizer: { states: '8bit' } },
  },
  'full, recomputed, sgd': { train: { checkpointActivations: true }, optimizer: { name: 'sgd' } },
  'full, a penalty and two updates': { objective: { updatesPerBatch: 2, kl: { coefficient: 0.1 } } },
  LoRA: { precision: 'bfloat16', train: { lora: { rank: 4 } } },
  'LoRA, large micro-batches': { train: { lora: { rank: 4 }, microBatch: { prompts: 7 } } },
};
const counts = Array.from({ length: 40 }, (_, i) => i + 1).concat(64, 100, 1024);
const fleetOf = (cards: number, nodes = 1): Fleet => ({ cards, nodes, network: 12.5e9 });
const subjectIn = (config: object, workload: Changes['workload'] = {}) => {
  const { microBatch } = (config as { train?: { microBatch?: { prompts: number } } }).train ?? {};
  return subjectOf({
    config: { device: 'cuda', ...config },
    workload: { prompts: 37, microBatch: microBatch?.prompts ?? 2, ...workload },
  });
};
const h100 = findMachine('h100');
/** Its links take no time. */
const linked: CardMachine = { ...h100, link: Infinity };

const pairs = machineNames.flatMap((machine) => Object.keys(modes).map((mode) => [mode, machine] as const));

test.each(pairs)(
  '%s on %s: efficiency is at most 1, and falls with cards; all of a step is in its phases',
  (mode, name) => {
    const [subject, machine] = [subjectIn(modes[mode]!), findMachine(name)];
    const shares = Object.entries(efficiencies(subject, machine, fleetOf(1), 1000));
    expect(shares.map(([cards]) => cards)).toEqual(['1', '8', '64', '1024']);
    expect(shares[0]![1]).toBe(1);
    for (const [i, [, share]] of shares.entries()) {
      expect(share).toBeGreaterThan(0);
      expect(share).toBeLessThanOrEqual((shares[i - 1]?.[1] ?? 1) * (1 + 1e-12));
    }
    const { step: alone } = planCardsTime(subject, machine, fleetOf(1), 1000);
    for (const cards of counts) {
      const { step, generation, update, communication, phases } = planCardsTime(subject, machine, fleetOf(cards), 1000);
      expect(phases.reduce((sum, { seconds }) => sum + seconds, 0)).toBeCloseTo(step, 12);
      expect(generation + update + communication).toBeCloseTo(step, 12);
      expect(phases.every(({ seconds }) => seconds > 0)).toBe(true);
      expect(communication > 0).toBe(cards > 1);
      expect(alone / cards / step).toBeLessThanOrEqual(1 + 1e-12);
    }
  },
);

test.each(Object.keys(modes))(
  '%s: what a card computes takes no longer with more of them, nor more of its memory',
  (mode) => {
    const subject = subjectIn(modes[mode]!);
    const times = counts.map((cards) => planCardsTime(subject, linked, fleetOf(cards), 1000));
    const peaks = counts.map((cards) => planMemory(shareOf(subject, cards), 0).peak);
    for (const [i] of counts.entries()) {
      if (i === 0) continue;
      expect(times[i]!.generation + times[i]!.update).toBeLessThanOrEqual(
        (times[i - 1]!.generation + times[i - 1]!.update) * (1 + 1e-12),
      );
      expect(peaks[i]).toBeLessThanOrEqual(peaks[i - 1]!);
      // Rollouts take most where there are no moments, and share nothing.
      if (mode.startsWith('full') && !mode.includes('sgd')) expect(peaks[i]).toBeLessThan(peaks[i - 1]!);
    }
  },
);

test('a slower network, further nodes and more to send take longer; with LoRA a tenth is sent', () => {
  const seconds = (config: object, fleet: Fleet): number =>
    planCardsTime(subjectIn(config), { ...h100, bandwidth: 1e16, launch: 1e-12 }, fleet, 1).communication;
  const near = seconds({}, fleetOf(16));
  const far = seconds({}, fleetOf(16, 2));
  expect(far).toBeGreaterThan(near);
  expect(seconds({}, { ...fleetOf(16, 2), network: 1e6 })).toBeGreaterThan(far);
  const slow = { ...fleetOf(16, 2), network: 1e4 };
  expect(seconds(modes['LoRA']!, slow)).toBeLessThan(seconds({}, slow) / 4);
});

test('where backward passes take long, only the last gradients are waited for', () => {
  const config = { train: { lora: { rank: 4 } } };
  const fleet = { ...fleetOf(4, 2), network: 1e6 };
  const of = (launch: number): number => planCardsTime(subjectIn(config), { ...h100, launch }, fleet, 1).communication;
  expect(of(10)).toBeCloseTo(of(1e-12) / 3, 3);
});

test('full training in bfloat16: all weights, linear layers in two bytes; a fourth of masters, moments and gradients', () => {
  const subject = subjectIn({ precision: 'bfloat16' }, { prompts: 16 });
  const { all, trainable, copied } = subject.sizes;
  const { parts } = planMemory(shareOf(subject, 4), 0);
  const of = (part: Part): number => parts.find((each) => each.part === part)?.bytes ?? 0;
  expect(of('weights')).toBe(4 * all - 2 * copied);
  expect(of('master weights')).toBe(copied);
  expect(of('optimiser')).toBe(2 * trainable);
  // And the table's gradient, until it has left.
  expect(of('gradients')).toBe(
    trainable + 4 * Math.max(352 * 64, (2 * (all - subject.sizes.vision - subject.sizes.tables)) / 3),
  );
  expect(of('bfloat16 copies of weights')).toBe(0);
});

test('servers sample instead: as many as asked for, and how many are enough', () => {
  const config = {
    ...{ precision: 'bfloat16', train: { lora: { rank: 4 } } },
    rollout: { backend: 'vllm', servers: ['http://127.0.0.1:8000'] },
  };
  const subject = subjectIn(config, { group: 8, responses: 9, responseTokens: 256 });
  const learned = planCardsTime(subject, h100, fleetOf(1), 1000);
  expect(learned).toMatchObject({ generation: 0, step: learned.update });
  const of = (given: Subject): ReturnType<typeof planServers> => planServers(given, h100, 1000, learned);
  const { servers, time } = of(subject);
  expect(servers).toMatchObject({ count: 1, seconds: time.generation });
  expect(time.step).toBeCloseTo(learned.step + servers.seconds, 12);
  expect(time.phases.reduce((sum, { seconds }) => sum + seconds, 0)).toBeCloseTo(time.step, 12);
  // One step ahead only what takes longer than learning is waited for.
  const rollout = { ...subject.config.rollout, ahead: 1 as const };
  const ahead = of({ ...subject, config: { ...subject.config, rollout } });
  expect(ahead.time.step).toBeCloseTo(Math.max(learned.step, servers.seconds), 12);
  const secondsOf = (count: number): number =>
    of({
      ...subject,
      config: { ...subject.config, rollout: { ...rollout, servers: Array.from({ length: count }, () => 'x') } },
    }).servers.seconds;
  const enough = servers.enough!;
  expect(secondsOf(enough)).toBeLessThanOrEqual(learned.step);
  if (enough > 1) expect(secondsOf(enough - 1)).toBeGreaterThan(learned.step);
});

test('with LoRA nothing is shared but prompts, of which the card with most is planned', () => {
  const subject = subjectIn(modes['LoRA']!);
  const local = shareOf(subject, 8);
  expect(local.sizes).toBe(subject.sizes);
  expect(local.workload).toEqual({ ...subject.workload, prompts: 5, microBatch: 2 });
  expect(shareOf(subject, 1024).workload).toMatchObject({ prompts: 1, microBatch: 1 });
  const { generation, update } = planCardsTime(subject, h100, fleetOf(8), 1000);
  expect(planCardTime(local, h100, 1000)).toMatchObject({ generation, update });
});

test('a network is bits per second', () => {
  expect(parseNetwork('400G')).toBe(50e9);
  expect(parseNetwork('1.6t')).toBe(200e9);
  expect(parseNetwork('800M')).toBe(1e8);
  for (const text of ['', '400', '0G', '-1G', 'fast', '400Gb/s']) {
    expect(() => parseNetwork(text)).toThrow(UserError);
    expect(() => parseNetwork(text)).toThrow('such as 400G');
  }
});
