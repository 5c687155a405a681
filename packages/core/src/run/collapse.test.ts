import { expect, test } from 'vitest';
import { CollapseGuard, type CollapseSigns } from './collapse.ts';

/** A healthy step. */
const healthy: CollapseSigns = {
  ...{ reward: 0.5, noVariance: 0.2, gradientNorm: 2, entropy: 0.8, ratio: 1, kl: 0.01, thinking: 0.9, cutOff: 0.1 },
};

/** What is said of ten healthy steps and then of these, again and again. */
function said(sick: CollapseSigns, steps = 20): string[] {
  const guard = new CollapseGuard();
  const all = [...Array<CollapseSigns>(10).fill(healthy), ...Array<CollapseSigns>(steps).fill({ ...healthy, ...sick })];
  return all.flatMap((signs) => guard.observe(signs));
}

const CASES: readonly (readonly [CollapseSigns, string])[] = [
  [{ reward: 0, noVariance: 1 }, 'every rollout earns 0, which was not so before'],
  [{ gradientNorm: 2001 }, 'the norm of the gradient is 2000, its median is 2'],
  [{ entropy: 0.00001 }, 'the entropy is 0.00001 nats a token'],
  [{ entropy: 0.03 }, 'the entropy is 0.03 nats a token'],
  [{ ratio: 2.1 }, 'their ratio is 2.1'],
  [{ ratio: 0.4 }, 'their ratio is 0.4'],
  [{ kl: 3 }, 'KL is 3 nats a token'],
  [{ thinking: 0.01 }, 'does not think any more: 0.9 of the rollouts did at first, 0.01 do now'],
  [{ cutOff: 1 }, 'all rollouts are cut off at rollout.maxNewTokens, which was not so before'],
];

test.each(CASES)('%j is said once, with what helps', (sick, message) => {
  const warnings = said(sick);
  expect(warnings).toHaveLength(1);
  expect(warnings[0]).toContain(message);
  expect(warnings[0]).toContain('. What helps: ');
});

test('what is healthy, near to it, or passes, is not said', () => {
  for (const fine of [{}, { reward: 0 }, { noVariance: 1 }, { gradientNorm: 1999 }, { entropy: 0.1 }, { ratio: 1.9 }])
    expect(said(fine)).toEqual([]);
  for (const fine of [{ kl: 0.9 }, { thinking: 0.5 }, { cutOff: 0.99 }]) expect(said(fine)).toEqual([]);
  for (const [sick] of CASES.filter(([{ gradientNorm }]) => gradientNorm === undefined))
    expect(said(sick, 2)).toEqual([]);
});

test('steps without a metric say nothing; a run that goes on knows what was said', () => {
  expect(new CollapseGuard().observe({})).toEqual([]);
  const past = [...Array<CollapseSigns>(10).fill(healthy), ...Array<CollapseSigns>(5).fill({ ...healthy, kl: 3 })];
  expect(new CollapseGuard(past).observe({ ...healthy, kl: 3 })).toEqual([]);
});

test('it remembers no more than it needs', () => {
  const guard = new CollapseGuard();
  for (let step = 0; step < 20_000; step++) guard.observe(healthy);
  expect(guard.observe({ ...healthy, gradientNorm: 5000 })).toHaveLength(1);
});
