import { setTimeout } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { UserError } from '../errors.ts';
import type { Answer } from '../tasks/task.ts';
import { sample, SQUARE } from '../tasks/grounding/testkit.ts';
import type { Terms } from '../types.ts';
import { grounding } from '../tasks/grounding/grounding.ts';
import { labelsThatCannotWin, LosingLabels, type LabelThatCannotWin } from '../label/labelcheck.ts';
import { defineReward, makeScorer, scoreGroups, scoreTerms, skip, totalReward, type RewardFunction } from './reward.ts';

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

/** What the user's rewards make of answers to one prompt. */
async function scored(
  rewards: readonly RewardFunction[],
  answers: readonly Answer[] = [ANSWER],
): Promise<(Terms | undefined)[]> {
  const [own] = await scoreGroups([{ scorer: makeScorer(task, rewards), subject: subjectOf([]), answers }]);
  return own!;
}

test("the user's rewards are terms like any other", async () => {
  const brief = defineReward({ name: 'brief', weight: 2, score: ({ text }) => (text.length < 99 ? 1 : 0) });
  const [terms] = await scored([brief]);
  expect(terms).toEqual({ thinking: 1, format: 2, accuracy: 3, nonRepeat: 1, brief: 1 });
  expect(totalReward(terms!, makeScorer(task, [brief]).weights)).toBe(7.5);
  expect(() => makeScorer(task, [{ ...brief, name: 'format' }])).toThrow('already is a reward term');
  expect(() => defineReward({ ...brief, weight: NaN })).toThrow('finite');
  expect(() => defineReward({ name: 'none', weight: 1 } as never)).toThrow('needs one of the functions');
});

test('a reward sees the response, what it says, the truth and the sample, and may take its time', async () => {
  const seen: unknown[] = [];
  const slow = defineReward({
    name: 'slow',
    weight: 1,
    async score({ text, stop, parsed, isLabel }, { id, extra }, { truth, frames }) {
      await setTimeout(1);
      seen.push(text, stop, parsed.wellFormed, isLabel, id, extra, truth, frames);
      return 0.5;
    },
  });
  expect(await scored([slow])).toMatchObject([{ slow: 0.5 }]);
  expect(seen).toEqual([ANSWER.text, 'eos', true, false, 's1', {}, { objects: [] }, [SQUARE]]);
});

test('a reward of a group sees all responses of a prompt, and one that is skipped leaves them', async () => {
  const others = ['<answer>[]</answer>', 'nothing'].map((text) => ({ text, stop: 'eos' }) as const);
  const rare = defineReward({
    name: 'rare',
    weight: 1,
    scoreGroup: (answers) => answers.map(({ text }) => answers.filter((each) => each.text === text).length),
  });
  const mute = defineReward({ name: 'mute', weight: 1, score: ({ text }) => (text === 'nothing' ? skip : 1) });
  const [first, second, third] = await scored([rare, mute], [ANSWER, ...others]);
  expect(first).toMatchObject({ rare: 1, mute: 1 });
  expect(second).toMatchObject({ rare: 1, mute: 1 });
  expect(third).toBeUndefined();
});

test('the groups of a step are judged beside each other', async () => {
  let running = 0;
  let most = 0;
  const busy = defineReward({
    name: 'busy',
    weight: 1,
    async score() {
      most = Math.max(most, ++running);
      await setTimeout(5);
      running--;
      return 1;
    },
  });
  const group = { scorer: makeScorer(task, [busy]), subject: subjectOf([]), answers: [ANSWER, ANSWER] };
  await scoreGroups([group, group, group]);
  expect(most).toBe(6);
});

test.each<[string, (() => unknown) | undefined, string]>([
  ['throws', () => { throw new Error('no such file'); }, 'the reward "odd" failed: no such file'],
  ['rejects', () => Promise.reject(new Error('no answer')), 'the reward "odd" failed: no answer'],
  ['gives no number', () => NaN, 'the reward term "odd" is NaN'],
  ['gives more than can be compared', () => 1e200, 'the reward term "odd" is 1e+200, beyond 1e+100'],
  ['throws what has no text', () => { throw Object.create(null); }, 'the reward "odd" failed: what was thrown has no text'],
  ['gives a text', () => '1', 'the reward term "odd" is 1, not a finite number'],
  ['gives nothing', () => undefined, 'the reward term "odd" is undefined'],
])('a reward that %s is an error that names the sample', async (_, score, message) => {
  const reward = defineReward({ name: 'odd', weight: 1, score: score as () => number });
  await expect(scored([reward])).rejects.toThrow(UserError);
  await expect(scored([reward])).rejects.toThrow(`train.jsonl:7 (s1): ${message}`);
}); // prettier-ignore

test('a reward of a group that gives too few values is an error', async () => {
  const short = defineReward({ name: 'short', weight: 1, scoreGroup: () => [] });
  await expect(scored([short])).rejects.toThrow('the reward "short" gave 0 values for 1 responses');
});

test('labels that tie with or lose against a wrong answer with thinking are listed', async () => {
  const solutions = [[], [{ bbox_2d: [10, 10, 90, 90] }]];
  const losers = async (input: Input, eliminate: 'on' | 'off' | 'neutral' = 'on') => {
    const chosen = taskOf(input);
    const subjects = solutions.map((solution) => subjectOf(solution, chosen));
    const found = await labelsThatCannotWin(makeScorer(chosen), subjects, { eliminate, thinking: 'eliminate' });
    return found.map(({ label, rival }) => [label, rival]);
  };
  expect(await losers({})).toEqual([]);
  expect(await losers({ weights: { thinking: 3 } })).toEqual([
    [5, 5],
    [5, 5],
  ]);
  expect(await losers({ weights: { thinking: 3 } }, 'off')).toEqual([]);
  expect(await losers({ weights: { thinking: 3 } }, 'neutral')).toEqual([]);
  expect(await losers({ weights: { thinking: 1, accuracy: 0.25 } })).toEqual([
    [2.75, 3],
    [2.75, 3],
  ]);
});

test('under the reward visionreasoner no empty label can win, and a right one ties with a missed point', async () => {
  const chosen = taskOf({ reward: 'visionreasoner', points: true });
  const object = [{ bbox_2d: [10, 10, 90, 90], point_2d: [50, 50] }];
  const subjects = [subjectOf([], chosen), subjectOf(object, chosen)];
  const found = await labelsThatCannotWin(makeScorer(chosen), subjects, { eliminate: 'on', thinking: 'eliminate' });
  expect(found).toEqual([
    { sample: subjects[0]!.sample, label: 1, rival: 4, rivalIs: 'wrong' },
    { sample: subjects[1]!.sample, label: 6, rival: 6, rivalIs: 'nearly right' },
  ]);
});

test('labels that nearly right answers with thinking reach are listed: half a mark of three objects is worth a thought', async () => {
  const objects = (n: number) =>
    subjectOf(Array.from({ length: n }, (_, i) => ({ bbox_2d: [200 * i, 10, 200 * i + 150, 160] })));
  const control = { eliminate: 'on', thinking: 'eliminate' } as const;
  const found = (n: number) => labelsThatCannotWin(makeScorer(task), [objects(n)], control);
  expect([await found(1), await found(2)]).toEqual([[], []]);
  expect(await found(3)).toMatchObject([{ label: 5, rival: 5, rivalIs: 'nearly right' }]);
  expect(await found(4)).toMatchObject([{ label: 5, rival: 5.125, rivalIs: 'nearly right' }]);
  expect((await found(4))[0]!.rival).toBeGreaterThan(5);
});

test('training warns of each kind of rival, and says what follows', () => {
  const lost = (id: string, rivalIs: 'wrong' | 'nearly right') => ({
    sample: sample([], { id }),
    label: 5,
    rival: 5,
    rivalIs,
  });
  const losing = [...['a', 'b', 'c', 'd', 'e', 'f'].map((id) => lost(id, 'nearly right')), lost('g', 'wrong')];
  const labelWarnings = (labels: readonly LabelThatCannotWin[], ...about: Parameters<LosingLabels['warnings']>) => {
    const found = new LosingLabels();
    found.add(labels);
    return found.warnings(...about);
  };
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
