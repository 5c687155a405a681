/** Scorers of several tasks, and rewards where there is little to judge. */
import { expect, test } from 'vitest';
import { UserError } from '../errors.ts';
import { click } from '../tasks/click/click.ts';
import { definedAs } from '../tasks/defined.ts';
import { grounding } from '../tasks/grounding/grounding.ts';
import { sample, SQUARE } from '../tasks/grounding/testkit.ts';
import type { Task } from '../tasks/task.ts';
import { defineReward, makeScorer, makeScorers, scoreGroups, scorerOf, scoreTerms, skip } from './reward.ts';

const task = grounding.create(grounding.parameters.parse({}), []) as Task;
const other = click.create(click.parameters.parse({}), []) as Task;
const brief = defineReward({ name: 'brief', weight: 2, score: () => 1 });
const ANSWER = { text: '<think> x</think><answer>[]</answer>', stop: 'eos' } as const;
const one = sample([]);
const subject = { sample: one, truth: task.parseTruth(one), frames: [SQUARE] };

test('every task has its scorer, with the rewards of all and the mark for thoughts; the first is for the rest', () => {
  const scorer = makeScorers(new Map([['grounding', task], ['click', other]]), [brief], 'whenCorrect'); // prettier-ignore
  expect(scorer.task).toBe(task);
  expect([...scorer.others.keys()]).toEqual(['click']);
  expect(scorerOf(scorer, { task: 'click' })).toMatchObject({ task: other, rewards: [brief], thinking: 'whenCorrect' });
  expect(scorerOf(scorer, { task: 'click' }).weights).toEqual({ ...other.weights, brief: 2 });
  expect(scorerOf(scorer, { task: 'grounding' })).toBe(scorer);
  const plain = makeScorers(new Map([['grounding', task]]));
  expect(plain).toMatchObject({ rewards: [], thinking: 'always' });
  expect(makeScorer(task).thinking).toBe('always');
  expect(() => makeScorers(new Map())).toThrow('there are no samples, hence no tasks');
});

test('a reward has a name, and is known for one', () => {
  expect(() => defineReward({ name: '', weight: 1, score: () => 1 })).toThrow('a reward function needs a name');
  expect(definedAs(brief)).toBe('reward');
});

test('no answers are no reason to ask a reward, and no rewards none to read answers', async () => {
  const asked = defineReward({
    name: 'asked',
    weight: 1,
    scoreGroup: () => {
      throw new Error('asked');
    },
  });
  expect(await scoreGroups([{ scorer: makeScorer(task, [asked]), subject, answers: [] }])).toEqual([[]]);
  const unread: Task = {
    ...task,
    parse: () => {
      throw new Error('read');
    },
  };
  const [[terms] = []] = await scoreGroups([{ scorer: makeScorer(unread), subject, answers: [ANSWER] }]);
  expect(terms).toEqual(scoreTerms(makeScorer(task), ANSWER, subject));
});

test('what one reward skips no other brings back', async () => {
  const skips = defineReward({ name: 'skips', weight: 1, score: () => skip });
  for (const rewards of [
    [skips, brief],
    [brief, skips],
  ]) {
    // prettier-ignore
    expect(await scoreGroups([{ scorer: makeScorer(task, rewards), subject, answers: [ANSWER] }])).toEqual([[undefined]]);
  }
});

test.each([NaN, Infinity, undefined])("a task's term that is %s is no reward of 0", (value) => {
  const broken = { ...task, terms: () => ({ format: value! }) };
  const score = () => scoreTerms(makeScorer(broken), ANSWER, subject);
  expect(score).toThrow(UserError);
  expect(score).toThrow(`the reward term "format" is ${value}, not a finite number`);
  try {
    score();
  } catch (error) {
    expect((error as UserError).remedy).toContain('finite number for any response');
  }
});

test('the thought of a response whose term fails is that of no other', async () => {
  const thrown = { ...task, terms: () => { throw new Error('no'); } }; // prettier-ignore
  await expect(scoreGroups([{ scorer: makeScorer(thrown), subject, answers: [ANSWER] }])).rejects.toThrow(
    'the reward "grounding" failed: no',
  );
});
