/** Our forward and backward against transformers' numbers (oracle/tiny_qwen2_5_vl.py). */
import { noGrad, scope } from '@visurf/torch';
import { afterAll, describe, expect, test } from 'vitest';

import { oracleCases, oraclePrompt, oracleTensors, tinyModel, type OracleCase } from '../testing/oracle.ts';
import { loadModel } from '../families/load.ts';
import type { VisionLanguageModel } from './vlm.ts';

const models = { float32: loadModel(tinyModel), float64: loadModel(tinyModel, { dtype: 'float64' }) };
afterAll(() => {
  for (const model of Object.values(models)) model.dispose();
});

const largest = (a: ArrayLike<number>, b: ArrayLike<number>): number =>
  Array.from(a).reduce((most, each, i) => Math.max(most, Math.abs(each - (b[i] ?? NaN))), 0);

function logProbs(model: VisionLanguageModel, each: OracleCase): number[][] {
  const responses = each.responses.map(({ tokens }) => tokens);
  return scope(() =>
    noGrad(() => {
      const { hidden, targets } = model.hidden([{ prompt: oraclePrompt(each), responses }]);
      const flat = Array.from(model.score(hidden, targets).logProbs);
      return responses.map(({ length }) => flat.splice(0, length));
    }),
  );
}

describe.each(oracleCases)('$name', (each) => {
  test('log-probabilities of every response, its prompt shared', () => {
    logProbs(models.float32, each).forEach((mine, j) =>
      expect(largest(mine, each.responses[j]?.logProbs ?? [])).toBeLessThan(1e-4),
    );
    logProbs(models.float64, each).forEach((mine, j) =>
      expect(largest(mine, each.responses[j]?.logProbs64 ?? [])).toBeLessThan(1e-9),
    );
  });

  test('vision features and gradients of every parameter, float64', () => {
    const model = models.float64;
    const features = scope(() => noGrad(() => model.imageFeatures([oraclePrompt(each)])?.toFloat64Array()));
    if (features) {
      const expected = scope(() => oracleTensors.get(`${each.name}.hidden.vision.features`).toFloat64Array());
      expect(largest(features, expected)).toBeLessThan(1e-4);
    }
    scope(() => {
      const { hidden, targets } = model.hidden([
        { prompt: oraclePrompt(each), responses: each.responses.map(({ tokens }) => tokens) },
      ]);
      const weights = each.responses.flatMap(({ tokens, weight }) => tokens.map(() => weight));
      hidden.backward(model.score(hidden, targets).pullback(Float64Array.from(weights)));
    });
    scope(() => {
      for (const [key, parameter] of model.namedParameters()) {
        const { grad } = parameter;
        const norm = each.gradientNorms.group[key] ?? 0;
        expect(Math.abs((grad?.norm().item() ?? 0) - norm) / Math.max(norm, 1e-12), key).toBeLessThan(1e-8);
        const name = `${each.name}.gradient.group.${key}`;
        if (grad && oracleTensors.has(name)) {
          const flat = grad.toFloat64Array();
          const stride = Math.ceil(flat.length / 256);
          const step = stride > 1 && stride % 2 === 0 ? stride + 1 : stride;
          const sampled = flat.filter((_, i) => i % step === 0);
          const expected = oracleTensors.get(name).toFloat64Array();
          expect(sampled.length).toBe(expected.length);
          expect(
            largest(sampled, expected) / expected.reduce((m, v) => Math.max(m, Math.abs(v)), 1e-12),
            key,
          ).toBeLessThan(1e-8);
        }
        parameter.grad = undefined;
      }
    });
  });
});
