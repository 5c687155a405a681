import { expect, test } from 'vitest';
import { probabilityOf, probabilityOfYes, verdicts } from './likelihood.ts';

test('probability of yes', () => {
  expect(probabilityOf([-0.1], [-2.4])).toBeCloseTo(0.908877, 6);
  expect(probabilityOf([2], [0])).toBeCloseTo(0.880797, 6);
  expect(probabilityOf([-1000, -1000], [-1000, -1000])).toBe(0.5);
  const texts = verdicts('<think> a</think><answer>no</answer>')!;
  expect(texts).toHaveLength(12);
  expect(texts[0]).toBe('<think> a</think><answer>yes');
  expect(probabilityOfYes(texts.map((text) => (/yes/i.test(text) ? -1 : -2)))).toBeCloseTo(1 / (1 + Math.exp(-1)), 12);
  expect(verdicts('no')).toBeUndefined();
});
