import { expect, test } from 'vitest';
import { UserError } from '../errors.ts';
import { sample, SQUARE } from '../tasks/grounding/testkit.ts';
import { grounding } from '../tasks/grounding/grounding.ts';
import { labelsThatCannotWin } from './labelcheck.ts';
import { defineReward, makeScorer, scoreTerms, totalReward } from './reward.ts';

type Input = Parameters<typeof grounding.parameters.parse>[0];
const taskOf = (input: Input = {}) => grounding.create(grounding.parameters.parse(input), []);
const task = taskOf();
const subjectOf = (solution: unknown, chosen = task) => {
  const one = sample(solution);
  return { sample: one, truth: chosen.parseTruth(one), frames: [SQUARE] };
};
const ANSWER = { text: '<think> x</think><answer>[]</answer>', stop: 'eos' } as const;

test('a reward is the weighted sum of its terms', () => {
  expect(totalReward({ a: 2, b: 3 }, { a: 0.5, b: -1 })).toBe(-2);
  expect(() => totalReward({ a: 2 }, { b: 1 })).toThrow('"b"');
  expect(() => totalReward({ a: 2, b: 3 }, { a: 1 })).toThrow('do not match');
});

test("the user's rewards are terms like any other", () => {
  const brief = defineReward({ name: 'brief', weight: 2, score: ({ text }) => (text.length < 99 ? 1 : 0) });
  const scorer = makeScorer(task, [brief]);
  const terms = scoreTerms(scorer, ANSWER, subjectOf([]));
  expect(terms).toEqual({ thinking: 1, format: 2, accuracy: 3, nonRepeat: 1, brief: 1 });
  expect(totalReward(terms, scorer.weights)).toBe(7.5);
  expect(() => makeScorer(task, [{ ...brief, name: 'format' }])).toThrow('already is a reward term');
  expect(() => defineReward({ ...brief, weight: NaN })).toThrow('finite');
});

test('a reward that throws, or gives no number, is an error that names the sample', () => {
  const broken = makeScorer(task, [
    defineReward({
      name: 'broken',
      weight: 1,
      score: () => {
        throw new Error('no such file');
      },
    }),
  ]);
  const notANumber = makeScorer(task, [defineReward({ name: 'odd', weight: 1, score: () => NaN })]);
  const subject = subjectOf([]);
  expect(() => scoreTerms(broken, ANSWER, subject)).toThrow(UserError);
  expect(() => scoreTerms(broken, ANSWER, subject)).toThrow(
    'train.jsonl:7 (s1): the reward "broken" failed: no such file',
  );
  expect(() => scoreTerms(notANumber, ANSWER, subject)).toThrow('the reward term "odd" is NaN');
});

test('labels that tie with or lose against a wrong answer with thinking are listed', () => {
  const solutions = [[], [{ bbox_2d: [10, 10, 90, 90] }]];
  const losers = (input: Input, eliminate: 'on' | 'off' | 'neutral' = 'on') => {
    const chosen = taskOf(input);
    const subjects = solutions.map((solution) => subjectOf(solution, chosen));
    return labelsThatCannotWin(makeScorer(chosen), subjects, { eliminate, thinking: 'eliminate' }).map(
      ({ label, rival }) => [label, rival],
    );
  };
  expect(losers({})).toEqual([]);
  expect(losers({ weights: { thinking: 3 } })).toEqual([
    [5, 5],
    [5, 5],
  ]);
  expect(losers({ weights: { thinking: 3 } }, 'off')).toEqual([]);
  expect(losers({ weights: { thinking: 3 } }, 'neutral')).toEqual([]);
  expect(losers({ weights: { thinking: 1, accuracy: 0.25 } })).toEqual([
    [2.75, 3],
    [2.75, 3],
  ]);
});

test('under the published reward no empty label can win', () => {
  const chosen = taskOf({ reward: 'published', points: true });
  const object = [{ bbox_2d: [10, 10, 90, 90], point_2d: [50, 50] }];
  const subjects = [subjectOf([], chosen), subjectOf(object, chosen)];
  const found = labelsThatCannotWin(makeScorer(chosen), subjects, { eliminate: 'on', thinking: 'eliminate' });
  expect(found).toEqual([{ sample: subjects[0]!.sample, label: 1, rival: 4 }]);
});
