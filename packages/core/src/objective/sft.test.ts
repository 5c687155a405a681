import { expect, test } from 'vitest';
import { negativeLogLikelihood, type TokenWeighting } from './sft.ts';

const probabilities = [0.5, 0.1, 0.9];
const logProbs = probabilities.map(Math.log);

test.each<[TokenWeighting, number[]]>([
  ['uniform', [1, 1, 1]],
  ['probability', [0.5, 0.1, 0.9]],
  ['uncertainty', [0.25, 0.09, 0.09]],
])('%s: every token weighs %j', (weighting, factors) => {
  const { loss, derivatives } = negativeLogLikelihood(logProbs, 2, weighting);
  expect(loss).toBeCloseTo(-2 * factors.reduce((sum, factor, t) => sum + factor * logProbs[t]!, 0), 14);
  factors.forEach((factor, t) => expect(derivatives[t]).toBeCloseTo(-2 * factor, 14));
});

test.each<TokenWeighting>(['uniform', 'probability', 'uncertainty'])(
  '%s: the derivative is that of the loss with its factors held fixed',
  (weighting) => {
    const { derivatives } = negativeLogLikelihood(logProbs, 1, weighting);
    const factors = logProbs.map((_, t) => negativeLogLikelihood([logProbs[t]!], 1, weighting).loss / -logProbs[t]!);
    logProbs.forEach((value, t) => {
      const loss = (at: number): number => -factors[t]! * at;
      expect(derivatives[t]).toBeCloseTo((loss(value + 1e-5) - loss(value - 1e-5)) / 2e-5, 8);
    });
  },
);
