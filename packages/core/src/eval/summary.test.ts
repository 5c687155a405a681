import { expect, test } from 'vitest';
import { Experiment } from '../question/experiment.ts';
import { defineReward, makeScorer, scorerOf, skip } from '../reward/reward.ts';
import { grounding } from '../tasks/grounding/grounding.ts';
import { sample, SQUARE } from '../tasks/grounding/testkit.ts';
import { evaluateAnswers, summarise, summariseSets } from './summary.ts';

const task = grounding.create(grounding.parameters.parse({}), []);
const scorer = makeScorer(task);
const eos = (text: string) => ({ text, stop: 'eos' }) as const;

test('metrics and mean reward of an evaluation', async () => {
  const absent = sample([]);
  const subject = { sample: absent, truth: task.parseTruth(absent), frames: [SQUARE] };
  const texts = ['<think> a</think><answer>[]</answer>', 'nothing there'];
  const responses = await evaluateAnswers(
    scorer,
    texts.map((text) => ({ answer: eos(text), subject })),
  );
  expect(responses.map(({ reward }) => reward)).toEqual([5.5, 0]);
  expect(summarise(scorer, responses)).toEqual({ gIoU: 50, nAcc: 50, thinking: 50, malformed: 50, reward: 2.75 });
  expect(summarise(scorer, [])).toEqual({});
});

test('every sample of several tasks is scored by its own task, and every set has its metrics', async () => {
  const samples = [
    sample([], { extra: { set: 'referring' } }),
    sample([{ bbox_2d: [0, 0, 9, 9] }], { extra: { set: 'relational' } }),
    sample('7', { task: 'math' }),
    sample('8', { task: 'math' }),
  ];
  const scorers = Experiment.open({ parameters: { math: { weights: { format: 3 } } } }).decide(samples).scorer;
  const texts = ['<answer>[]</answer>', '<answer>[]</answer>', '<think> a</think>\\boxed{7}', '\\boxed{7}'];
  const answered = samples.map((each, i) => {
    const truth = scorerOf(scorers, each).task.parseTruth(each);
    return { answer: eos(texts[i]!), subject: { sample: each, truth, frames: [SQUARE] } };
  });
  const evaluated = await evaluateAnswers(scorers, answered);
  const responses = samples.map((each, i) => ({ sample: each, ...evaluated[i]! }));
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

test('a response that a reward skips has no part in the mean reward', async () => {
  const mute = defineReward({ name: 'mute', weight: 1, score: ({ text }) => (text === 'nothing' ? skip : 1) });
  const judged = makeScorer(task, [mute]);
  const subject = { sample: sample([]), truth: { objects: [] }, frames: [SQUARE] };
  const answers = ['<answer>[]</answer>', 'nothing'].map((text) => ({ answer: eos(text), subject }));
  const responses = await evaluateAnswers(judged, answers);
  expect(responses.map(({ reward }) => reward)).toEqual([6, undefined]);
  expect(summarise(judged, responses)).toMatchObject({ nAcc: 50, reward: 6 });
});

test('a set of several tasks is summarised task by task', async () => {
  const samples = [
    sample('7', { task: 'math', extra: { set: 'both' } }),
    sample('red', { task: 'answer', extra: { set: 'both' } }),
    sample([], { extra: { set: 'other' } }),
  ];
  const { scorer: scorers } = Experiment.open().decide(samples);
  const texts = ['\\boxed{7}', '<answer>blue</answer>', '<answer>[]</answer>'];
  const subjects = samples.map((each) => {
    return { sample: each, truth: scorerOf(scorers, each).task.parseTruth(each), frames: [SQUARE] };
  });
  const answered = await evaluateAnswers(scorers, subjects.map((subject, i) => ({ answer: eos(texts[i]!), subject }))); // prettier-ignore
  const metrics = summariseSets(scorers, answered.map((each, i) => ({ sample: samples[i]!, ...each }))); // prettier-ignore
  expect(metrics).toMatchObject({ 'both.math.accuracy': 100, 'both.answer.accuracy': 0, 'other.nAcc': 100 });
});
