import { expect, test } from 'vitest';
import { editDistance, nearest, UserError } from './errors.ts';

test('a UserError says where, what and what to do', () => {
  const error = new UserError('unknown key "sed"', { where: 'a.yaml:3', remedy: 'Did you mean "seed"?' });
  expect(error.message).toBe('a.yaml:3: unknown key "sed"\n  Did you mean "seed"?');
  expect(error.reason).toBe('unknown key "sed"');
  expect(new UserError('broken').message).toBe('broken');
});

test('edit distance', () => {
  expect(editDistance('kitten', 'sitting')).toBe(3);
  expect(editDistance('', 'abc')).toBe(3);
});

test('nearest suggests likely typos only', () => {
  expect(nearest('lerningRate', ['learningRate', 'clipNorm'])).toBe('learningRate');
  expect(nearest('zzzzzz', ['learningRate', 'clipNorm'])).toBeUndefined();
});
