import { expect, test } from 'vitest';
import { makeScorer } from '../reward/reward.ts';
import { grounding } from '../tasks/grounding/grounding.ts';
import { sample, SQUARE } from '../tasks/grounding/testkit.ts';
import { evaluateAnswer, summarise } from './summary.ts';

const task = grounding.create(grounding.parameters.parse({}), []);
const scorer = makeScorer(task);

test('metrics and mean reward of an evaluation', () => {
  const absent = sample([]);
  const subject = { sample: absent, truth: task.parseTruth(absent), frames: [SQUARE] };
  const responses = ['<think> a</think><answer>[]</answer>', 'nothing there'].map((text) =>
    evaluateAnswer(scorer, { text, stop: 'eos' }, subject),
  );
  expect(responses.map(({ reward }) => reward)).toEqual([5.5, 0]);
  expect(summarise(scorer, responses)).toEqual({ gIoU: 50, nAcc: 50, thinking: 50, malformed: 50, reward: 2.75 });
  expect(summarise(scorer, [])).toEqual({});
});
