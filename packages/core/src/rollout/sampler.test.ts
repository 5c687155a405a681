/** What devices choose by libtorch's operators is what the kernel of the CPU chooses. */
import { scope, tensor, type Tensor } from '@visurf/torch';
import { describe, expect, test } from 'vitest';

import { uniform } from '../philox.ts';
import { belowOne, chooseTokens, sampleTokens, type Sampling } from './sampler.ts';

const plain: Sampling = { temperature: 1, topP: 1, topK: 0, repetitionPenalty: 1 };
const noiseOf = (rows: number, salt: number): number[] =>
  Array.from({ length: rows }, (_, i) => uniform({ seed: salt, step: 0, prompt: i, member: 0 }, 0));

/** Logits of a peaked distribution, the same for the same salt. */
function logitsOf(rows: number, vocabulary: number, salt: number): Tensor {
  const values = Float64Array.from({ length: rows * vocabulary }, (_, i) => {
    const u = uniform({ seed: salt, step: 1, prompt: i % vocabulary, member: Math.floor(i / vocabulary) }, 0);
    return 12 * (u - 0.5) ** 3 * 8;
  });
  return tensor(values, { shape: [rows, vocabulary], dtype: 'float64' });
}

const byOperators = (logits: Tensor, sampling: Sampling, noise: readonly number[], forbidden?: Tensor): number[] => {
  const [tokens] = chooseTokens(logits, sampling, tensor(belowOne(noise), { dtype: 'float64' }), forbidden);
  return tokens.toArray();
};

// Vocabularies that are summed at once, and in blocks, without and with a rest.
describe.each([5, 352, 4096, 4097, 4608, 9001])('%i tokens', (vocabulary) => {
  test.each([1, 0.6, 1.7])('the same tokens for the same noise, temperature %s', (temperature) =>
    scope(() => {
      const rows = 64;
      const logits = logitsOf(rows, vocabulary, vocabulary);
      const noise = noiseOf(rows, 3);
      const sampling = { ...plain, temperature };
      // Runs of many blocks that must not be sampled, at the beginning and at the end.
      const [from, to] = [Math.floor(vocabulary / 3), Math.ceil((vocabulary * 2) / 3)];
      const forbidden = tensor(
        Float64Array.from({ length: vocabulary }, (_, i) => (i < from || i >= to ? -Infinity : 0)),
        { dtype: 'float64' },
      );
      for (const each of [undefined, forbidden]) {
        const found = byOperators(logits, sampling, noise, each);
        expect(found).toEqual(sampleTokens(logits, sampling, noise, each, []).tokens);
        if (each) expect(found.every((token) => token >= from && token < to)).toBe(true);
      }
    }),
  );

  test('in float32, too', () =>
    scope(() => {
      const logits = logitsOf(64, vocabulary, 1).to('float32');
      const noise = noiseOf(64, 5);
      expect(byOperators(logits, plain, noise)).toEqual(sampleTokens(logits, plain, noise, undefined, []).tokens);
    }));

  test('noise at its ends, and just below and at every step of the distribution, finds what has a probability', () =>
    scope(() => {
      const only = [Math.floor(vocabulary / 2), vocabulary - 2];
      const row = Float64Array.from({ length: vocabulary }, (_, i) => (only.includes(i) ? 0 : -Infinity));
      const noise = [0, 0.25, 0.5 - Number.EPSILON, 0.5, 1 - 2 ** -53];
      const logits = tensor(row, { dtype: 'float64' }).expand(noise.length, vocabulary);
      expect(byOperators(logits, plain, noise)).toEqual([only[0], only[0], only[0], only[1], only[1]]);
    }));
});

test('sums that round up do not lead past what is left: thirds of a float32', () =>
  scope(() => {
    const vocabulary = 6000;
    const row = Float32Array.from({ length: vocabulary }, (_, i) => (i % 2000 === 7 ? 0 : -Infinity));
    const noise = Array.from({ length: 200 }, (_, i) => 1 - 2 ** -53 * (i + 1));
    const found = byOperators(tensor(row).expand(noise.length, vocabulary), plain, noise);
    expect(new Set(found)).toEqual(new Set([4007]));
  }));

test.each([1.1, 0.8])('a repetition penalty of %s: tokens by a mask are those by sets', (repetitionPenalty) =>
  scope(() => {
    const [rows, vocabulary] = [32, 700];
    const logits = logitsOf(rows, vocabulary, 9);
    const seen = Array.from({ length: rows }, (_, r) => new Set([r, r + 1, vocabulary - 1 - r]));
    const sampling = { ...plain, temperature: 0, repetitionPenalty };
    const expected = Array.from({ length: rows }, (_, r) => {
      const values = logits.select(0, r).toArray();
      const penalised = values.map((x, i) =>
        !seen[r]!.has(i) ? x : x < 0 ? x * repetitionPenalty : x / repetitionPenalty,
      );
      return penalised.indexOf(Math.max(...penalised));
    });
    expect(sampleTokens(logits, sampling, [], undefined, seen).tokens).toEqual(expected);
  }),
);
