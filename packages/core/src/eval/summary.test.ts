import { expect, test } from 'vitest';
import { Experiment } from '../question/experiment.ts';
import { makeScorer, scorerOf } from '../reward/reward.ts';
import { grounding } from '../tasks/grounding/grounding.ts';
import { sample, SQUARE } from '../tasks/grounding/testkit.ts';
import { evaluateAnswer, summarise, summariseSets } from './summary.ts';

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

test('every sample of a mix is scored by its own task, and every set has its metrics', () => {
  const samples = [
    sample([], { extra: { set: 'referring' } }),
    sample([{ bbox_2d: [0, 0, 9, 9] }], { extra: { set: 'relational' } }),
    sample('7', { task: 'math' }),
    sample('8', { task: 'math' }),
  ];
  const scorers = Experiment.open({ parameters: { math: { weights: { format: 3 } } } }).decide(samples).scorer;
  const texts = ['<answer>[]</answer>', '<answer>[]</answer>', '<think> a</think>\\boxed{7}', '\\boxed{7}'];
  const responses = samples.map((each, i) => {
    const own = scorerOf(scorers, each);
    const subject = { sample: each, truth: own.task.parseTruth(each), frames: [SQUARE] };
    return { sample: each, ...evaluateAnswer(own, { text: texts[i]!, stop: 'eos' }, subject) };
  });
  expect(responses.map(({ reward }) => reward)).toEqual([5, 2, 4.5, 3]);
  expect(summariseSets(scorers, responses)).toMatchObject({
    'referring.gIoU': 100,
    'relational.gIoU': 0,
    'math.accuracy': 50,
    'math.reward': 3.75,
    reward: 3.625,
  });
  expect(summariseSets(scorers, responses.slice(2))).toMatchObject({ accuracy: 50, reward: 3.75 });
  expect(summariseSets(scorers, [])).toEqual({});
});
