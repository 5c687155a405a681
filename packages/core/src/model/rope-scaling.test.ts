/** Expected numbers: `ROPE_INIT_FUNCTIONS` of transformers 5.23 for heads of 16 channels. */
import { expect, test } from 'vitest';

import { inverseFrequencies } from './rope.ts';
import { linearScaling, llama3Scaling, scaleFrequencies, scalingFields, yarnScaling } from './rope-scaling.ts';
import { z } from 'zod';

const fields = (value: object) => z.object(scalingFields).parse(value);

test('linear scaling divides every frequency', () => {
  const scaled = scaleFrequencies(inverseFrequencies(16, 1e6), linearScaling(3));
  expect([...scaled].map((each) => each.toPrecision(6))).toEqual([
    '0.333333', '0.0592760', '0.0105409', '0.00187447', '0.000333333', '0.0000592760', '0.0000105409', '0.00000187447',
  ]); // prettier-ignore
});

test.each([
  {
    file: { factor: 4, original_max_position_embeddings: 32768 },
    theta: 1e6,
    expected: [
      1, 0.177827939, 0.0316227786, 0.00421755994, 0.000500000024, 4.44569851e-5, 7.90569356e-6, 1.40585337e-6,
    ],
    attentionFactor: 1.138629436111989,
  },
  {
    file: {
      factor: 2.5,
      original_max_position_embeddings: 64,
      beta_fast: 8,
      beta_slow: 2,
      mscale: 1.2,
      mscale_all_dim: 0.7,
      truncate: false,
    },
    theta: 1e4,
    expected: [1, 0.19171688, 0.0399999991, 0.0126491114, 0.00400000019, 0.00126491114, 0.00039999999, 0.000126491112],
    attentionFactor: 1.0430530959010258,
  },
])('yarn divides the slow ones: factor $file.factor', ({ file, theta, expected, attentionFactor }) => {
  const scaling = yarnScaling(fields(file), { headSize: 16, theta, length: 128 });
  expect(scaling.attentionFactor).toBeCloseTo(attentionFactor, 14);
  const scaled = scaleFrequencies(inverseFrequencies(16, theta), scaling);
  scaled.forEach((each, i) => expect(Math.abs(each / expected[i]! - 1)).toBeLessThan(2e-7));
});

test('what yarn leaves out follows from the length', () => {
  const { factor, ramp } = yarnScaling(fields({ original_max_position_embeddings: 64 }), {
    headSize: 16,
    theta: 1e4,
    length: 128,
  });
  expect(factor).toBe(2);
  expect(ramp).toEqual([0, 3]);
});

test.each([
  {
    // As Llama 3.1 has it.
    file: { factor: 8, low_freq_factor: 1, high_freq_factor: 4, original_max_position_embeddings: 8192 },
    theta: 5e5,
    expected: [
      1, 0.193922758, 0.0376060307, 0.00729266508, 0.000524846022, 3.42810235e-5, 6.64786967e-6, 1.28917316e-6,
    ],
  },
  {
    file: { factor: 4, low_freq_factor: 2, high_freq_factor: 5, original_max_position_embeddings: 64 },
    theta: 1e4,
    expected: [
      1, 0.175590962, 0.0250000004, 0.00790569466, 0.00249999994, 0.000790569466, 0.000250000012, 7.90569466e-5,
    ],
  },
])('llama3 divides long waves: factor $file.factor', ({ file, theta, expected }) => {
  const scaled = scaleFrequencies(inverseFrequencies(16, theta), llama3Scaling(fields(file)));
  scaled.forEach((each, i) => expect(Math.abs(each / expected[i]! - 1)).toBeLessThan(2e-7));
});

test('llama3 without a number it needs is refused', () => {
  expect(() => llama3Scaling(fields({ factor: 8, low_freq_factor: 1, high_freq_factor: 4 }))).toThrow('original_max');
});
