import fc from 'fast-check';
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
  expect(editDistance('hihg', 'high')).toBe(1);
  expect(editDistance('ca', 'abc')).toBe(3);
});

test('nearest suggests likely typos only', () => {
  expect(nearest('lerningRate', ['learningRate', 'clipNorm'])).toBe('learningRate');
  expect(nearest('zzzzzz', ['learningRate', 'clipNorm'])).toBeUndefined();
  expect(nearest('weigths', ['weights', 'lengths'])).toBe('weights');
  expect(nearest('wandb', ['label', 'data', 'model'])).toBeUndefined();
  expect(nearest('a', ['b', 'rl'])).toBeUndefined();
  const word = fc.string({ unit: fc.constantFrom('a', 'b', 'c', 'd', 'R', '_'), maxLength: 12 });
  fc.assert(
    fc.property(word, fc.array(word), (typed, words) => {
      const found = nearest(typed, words);
      const distances = words.map((each) => editDistance(typed.toLowerCase(), each.toLowerCase()));
      if (found === undefined) {
        const most = Math.max(1, Math.floor(typed.length / 3));
        words.forEach((each, i) => {
          expect(distances[i]! > most || distances[i]! >= Math.min(typed.length, each.length)).toBe(true);
        });
      } else {
        const distance = editDistance(typed.toLowerCase(), found.toLowerCase());
        expect(distance).toBeLessThanOrEqual(Math.max(1, typed.length / 3));
        expect(distance).toBeLessThan(Math.max(1, Math.min(typed.length, found.length)));
      }
    }),
  );
});
