import { expect, test } from 'vitest';
import { SilenceGuard, type SilenceSigns } from './silence.ts';

const healthy: SilenceSigns = { gradientNorm: 1, cutOff: 0, noVariance: 0.5, labelActive: 0.5, reward: 2 };
const silent: SilenceSigns = { ...healthy, gradientNorm: 0, noVariance: 1, labelActive: 0 };
const warnings = (...steps: SilenceSigns[]): (string | undefined)[] => {
  const guard = new SilenceGuard();
  return steps.map((signs) => guard.observe(signs));
};
const five = (signs: SilenceSigns): SilenceSigns[] => Array.from({ length: 5 }, () => signs);

test('a healthy run is not warned of, nor one that is silent now and then', () => {
  expect(warnings(...five(healthy), ...five(healthy)).some(Boolean)).toBe(false);
  expect(warnings(...five(silent).slice(1), healthy, ...five(silent).slice(1)).some(Boolean)).toBe(false);
  // A group without variance teaches where its label is active; a penalty alone teaches nothing.
  expect(warnings(...five({ ...silent, gradientNorm: 1, labelActive: 0.1 })).some(Boolean)).toBe(false);
  expect(warnings(...five({ ...silent, gradientNorm: 1 })).at(-1)).toContain('nothing was learned');
});

test.each<[string, SilenceSigns, string, string]>([
  ['masked', { ...silent, cutOff: 1, masked: 1 }, 'masked', 'objective.truncated'],
  ['cut off', { ...silent, cutOff: 1 }, 'cut off at rollout.maxNewTokens', 'raise rollout.maxNewTokens'],
  ['skipped', { gradientNorm: 0, skipped: 8 }, 'skips every response', 'reward check'],
  ['labels reached', silent, 'reach every label', 'harder prompts'],
  ['no variance', { gradientNorm: 0, noVariance: 1, reward: 0 }, 'earn the same', 'rollout.group'],
  ['unknown', { gradientNorm: 0 }, 'the gradient is 0', 'groups'],
])('a silent run is warned of once, with why and what helps: %s', (_, signs, why, remedy) => {
  const found = warnings(...five(signs), ...five(signs));
  expect(found.filter(Boolean)).toHaveLength(1);
  expect(found[4]).toContain(why);
  expect(found[4]).toContain(remedy);
});

test('a run that goes on remembers what it was warned of', () => {
  expect(new SilenceGuard(five(silent)).observe(silent)).toBeUndefined();
  expect(new SilenceGuard(five(silent).slice(1)).observe(silent)).toBeDefined();
});
