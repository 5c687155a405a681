import { expect, test } from 'vitest';
import { keyUsers, paradigmDefaults, usesKey } from './keys.ts';
import { PARADIGMS } from './paradigm.ts';

test('the nearest key that is listed says who uses it', () => {
  expect(keyUsers('rollout.group')).not.toContain('sft');
  expect(keyUsers('rollout.maxNewTokens')).toEqual(PARADIGMS);
  expect(keyUsers('label.align')).toEqual(PARADIGMS.filter((each) => each !== 'rlvr'));
  expect(keyUsers('label.smooth')).toEqual(['visurf', 's-grpo', 'luffy']);
  expect(keyUsers('objective.clip.low')).toEqual(PARADIGMS.filter((each) => each !== 'sft' && each !== 'dft'));
  expect(keyUsers('mix.weight.start')).toEqual(['progressive', 'chord']);
  expect(keyUsers('optimizer.learningRate')).toEqual(PARADIGMS);
});

test('a paradigm uses the keys that it has defaults for', () => {
  const paths = (value: unknown, path: string): string[] =>
    typeof value === 'object' && value !== null
      ? Object.entries(value).flatMap(([key, inner]) => paths(inner, path === '' ? key : `${path}.${key}`))
      : [path];
  for (const paradigm of PARADIGMS) {
    for (const key of paths(paradigmDefaults[paradigm] ?? {}, '')) expect(usesKey(paradigm, key), key).toBe(true);
  }
});
