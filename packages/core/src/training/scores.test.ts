import { expect, test } from 'vitest';
import { Scores } from './scores.ts';

const scoresOf = (patience: number | undefined, ...rewards: number[]): Scores =>
  new Scores(
    patience,
    rewards.map((reward, i) => ({ step: 10 * i, metrics: { reward } })),
  );

test('patience counts evaluations since the first of the best, the base among them', () => {
  expect(scoresOf(2, 1, 2, 1.5).areExhausted).toBe(false);
  expect(scoresOf(2, 1, 2, 1.5, 2).areExhausted).toBe(true);
  expect(scoresOf(2, 1, 2, 1.5, 2.1).areExhausted).toBe(false);
  expect(scoresOf(2, 3, 2, 1).areExhausted).toBe(true);
  expect(scoresOf(undefined, 3, 2, 1, 1, 1, 1).areExhausted).toBe(false);
  expect(scoresOf(1).areExhausted).toBe(false);
  expect(scoresOf(2, 1, 2, 1.5, 2).described).toBe('no better reward in 2 evaluations: the best is 2, of step 10');
});

test('a training that did not help is named', () => {
  expect(scoresOf(undefined, 2, 1, 2).warning).toMatch('2 at best, the base has 2');
  expect(scoresOf(undefined, 2, 1, 2.1).warning).toBeUndefined();
  // Of a run that goes on from before there was an evaluation of the base nothing is known.
  expect(new Scores(undefined, [{ step: 5, metrics: { reward: 1 } }]).warning).toBeUndefined();
  expect(scoresOf(undefined, 2).warning).toBeUndefined();
});
