import { expect, test } from 'vitest';
import { UserError } from '../errors.ts';
import { sample, SQUARE } from '../tasks/grounding/testkit.ts';
import { grounding } from '../tasks/grounding/grounding.ts';
import { labelsThatCannotWin, labelWarnings } from './labelcheck.ts';
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

test('under the published reward no empty label can win, and a right one ties with a missed point', () => {
  const chosen = taskOf({ reward: 'published', points: true });
  const object = [{ bbox_2d: [10, 10, 90, 90], point_2d: [50, 50] }];
  const subjects = [subjectOf([], chosen), subjectOf(object, chosen)];
  const found = labelsThatCannotWin(makeScorer(chosen), subjects, { eliminate: 'on', thinking: 'eliminate' });
  expect(found).toEqual([
    { sample: subjects[0]!.sample, label: 1, rival: 4, rivalIs: 'wrong' },
    { sample: subjects[1]!.sample, label: 6, rival: 6, rivalIs: 'nearly right' },
  ]);
});

test('labels that nearly right answers with thinking reach are listed: half a mark of three objects is worth a thought', () => {
  const objects = (n: number) =>
    subjectOf(Array.from({ length: n }, (_, i) => ({ bbox_2d: [200 * i, 10, 200 * i + 150, 160] })));
  const control = { eliminate: 'on', thinking: 'eliminate' } as const;
  const found = (n: number) => labelsThatCannotWin(makeScorer(task), [objects(n)], control);
  expect([found(1), found(2)]).toEqual([[], []]);
  expect(found(3)).toMatchObject([{ label: 5, rival: 5, rivalIs: 'nearly right' }]);
  expect(found(4)).toMatchObject([{ label: 5, rival: 5.125, rivalIs: 'nearly right' }]);
  expect(found(4)[0]!.rival).toBeGreaterThan(5);
});

test('training warns of each kind of rival, and says what follows', () => {
  const lost = (id: string, rivalIs: 'wrong' | 'nearly right') => ({
    sample: sample([], { id }),
    label: 5,
    rival: 5,
    rivalIs,
  });
  const losing = [...['a', 'b', 'c', 'd', 'e', 'f'].map((id) => lost(id, 'nearly right')), lost('g', 'wrong')];
  const [wrong, nearly, ...none] = labelWarnings(losing, 9, { smooth: 'reward' });
  expect(wrong).toContain('1 of 9 samples cannot win against a wrong answer with thinking (g)');
  expect(nearly).toContain(
    '6 of 9 samples cannot win against a nearly right answer with thinking (a, b, c, d, e, ...)',
  );
  expect(nearly).toContain('switch it off');
  expect(none).toEqual([]);
  expect(labelWarnings(losing, 9, { smooth: 'accuracy' })[1]).toContain('push it down');
  expect(labelWarnings([], 9, { smooth: 'reward' })).toEqual([]);
});

test('thinking: whenCorrect gives no mark to a thought that leads to a wrong answer', () => {
  const box = [{ bbox_2d: [10, 10, 90, 90] }];
  const said = (answer: string) => ({ text: `<think> x</think><answer>${answer}</answer>`, stop: 'eos' }) as const;
  const marks = (thinking: 'always' | 'whenCorrect') => {
    const scorer = makeScorer(task, [], thinking);
    const answers = [
      '[]',
      '[{"bbox_2d":[300,300,400,400]}]',
      '[{"bbox_2d":[10,10,90,120]}]',
      '[{"bbox_2d":[10,10,90,90]}]',
    ];
    return answers
      .map((answer) => scoreTerms(scorer, said(answer), subjectOf(box)))
      .map((terms) => [terms['thinking'], terms['accuracy']]);
  };
  expect(marks('always')).toEqual([[1, 0], [1, 0], [1, 3], [1, 3]]); // prettier-ignore
  expect(marks('whenCorrect')).toEqual([[0, 0], [0, 0], [1, 3], [1, 3]]); // prettier-ignore
  const whole = makeScorer(task, [], 'whenCorrect');
  expect(scoreTerms(whole, said('[]'), subjectOf([]))).toMatchObject({ thinking: 1, accuracy: 3 });
});
