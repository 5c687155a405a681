import { expect, test } from 'vitest';
import { z } from 'zod';
import { parseConfig } from '../config/load.ts';
import { PARADIGMS } from '../schedule/paradigm.ts';
import { click } from '../tasks/click/click.ts';
import { defineTask, taskDefinition, taskNames } from '../tasks/registry.ts';
import { termWeights, unsaidWeights } from '../tasks/weights.ts';
import { said, saidOfQuestions } from './decisive.ts';

const minimal = { model: 'm', output: 'o', steps: 3, data: { train: 't' } };
const saidOf = (changes: object): Record<string, unknown> =>
  Object.fromEntries(said(parseConfig({ ...minimal, ...changes })));

/** Where this fails for a new key: give it a line in `UNSAID`, or in `unsaid` of its task. For one that is there: its default has changed. */
test('defaults go without saying, but for the normalizer, which follows another key', () => {
  expect(saidOf({})).toEqual({ steps: 3, 'objective.aggregate.normalizer': 512 });
  expect(saidOf({ train: { lora: {} } })).toMatchObject({ 'train.lora.rank': 16, 'train.lora.alpha': 32 });
  expect(Object.keys(saidOf({ train: { lora: {} } }))).toHaveLength(4);
  const tasks = Object.fromEntries(taskNames().map((name) => [name, {}]));
  delete tasks['grounding'];
  expect(saidOf({ tasks })).toEqual(saidOf({}));
});

test('what differs is said, wherever it was written', () => {
  const optimizer = { learningRate: 1e-4, betas: [0.9, 0.99] };
  expect(saidOf({ data: { train: 't', prompt: '{Question}' }, optimizer, task: { weights: { format: 2 } } })).toEqual({
    ...saidOf({}),
    'data.prompt': '{Question}',
    'optimizer.betas': [0.9, 0.99],
    'optimizer.learningRate': 1e-4,
    'tasks.grounding.weights.format': 2,
  });
  const [asTask, asOther] = [{ data: { train: 't', task: 'math' } }, { data: { train: 't', task: 'answer' } }];
  const weights = { weights: { accuracy: 2 } };
  const { 'data.task': task, ...said1 } = saidOf({ ...asTask, task: weights });
  const { 'data.task': other, ...said2 } = saidOf({ ...asOther, tasks: { math: weights } });
  expect([task, other]).toEqual(['math', 'answer']);
  expect(said1).toEqual(said2);
});

test('keys that a paradigm does not use decide nothing; where files and threads are does not either', () => {
  for (const paradigm of PARADIGMS) {
    const own = saidOf({ paradigm, ...(paradigm === 'sft-then-rlvr' && { sftSteps: 1 }) });
    expect(own).toMatchObject({ steps: 3, ...(paradigm !== 'visurf' && { paradigm }) });
    if (paradigm === 'sft') expect(own).toEqual({ paradigm, steps: 3 });
  }
  const moved = { model: 'n', output: 'p', threads: 4, data: { train: 'u', validation: 'v' } };
  expect(saidOf(moved)).toEqual(saidOf({}));
});

test('of a question, what is asked and how it is scored', () => {
  const config = {
    ...minimal,
    thinking: 'whenCorrect',
    data: { train: 't', maxPixels: 3136 },
    seed: 4,
    precision: 'bfloat16',
    stream: 'bfloat16',
  };
  expect(Object.fromEntries(saidOfQuestions(parseConfig(config)))).toEqual({
    thinking: 'whenCorrect',
    'data.maxPixels': 3136,
    precision: 'bfloat16',
    stream: 'bfloat16',
  });
});

test('weights that are left out are those of the reward', () => {
  const saidWith = (task: object) => saidOf({ data: { train: 't', task: 'math' }, task });
  expect(saidWith({ reward: 'r1v' })).toMatchObject({ 'tasks.math.weights.format': 0 });
  expect(saidWith({ reward: 'r1v', weights: { format: 0 } })).toEqual(saidWith({ reward: 'r1v' }));
  expect(saidWith({ reward: 'r1v', weights: { format: 1 } })).not.toHaveProperty(['tasks.math.weights.format']);
});

test('every task of ours says what goes without saying; a new term is said by its task alone', () => {
  expect(taskNames().filter((name) => taskDefinition(name).unsaid === undefined)).toEqual([]);
  const weights = termWeights
    .unwrap()
    .extend({ brief: z.number().default(0.3) })
    .prefault({});
  defineTask({
    name: 'click-briefly',
    parameters: z.strictObject({ weights }),
    unsaid: { weights: { ...unsaidWeights, brief: 0 } },
    create: (parameters, samples) => click.create(parameters, samples),
  });
  const saidWith = (task: object) => saidOf({ data: { train: 't', task: 'click-briefly' }, task });
  const before = { ...saidOf({}), 'data.task': 'click-briefly' };
  expect(saidWith({ weights: { brief: 0 } })).toEqual(before);
  expect(saidWith({})).toEqual({ ...before, 'tasks.click-briefly.weights.brief': 0.3 });
});

/** Results are kept by these: a value that changes makes others of them. */
test('what goes without saying of a task stays', () => {
  const all = Object.fromEntries(taskNames().map((name) => [name, taskDefinition(name).unsaid]));
  const weights = { thinking: 0.5, format: 1, accuracy: 1, nonRepeat: 0 };
  const places = {
    ...{ points: 'auto', reward: 'default', iouThreshold: 0.5, boxError: 10, pointError: 30 },
    ...{ masks: 'none', sam2: 'onnx-community/sam2.1-hiera-tiny-ONNX' },
  };
  expect(all).toMatchObject({
    ...{ grounding: places, box: places, click: { weights }, anomaly: { weights } },
    ...{ math: { weights, reward: 'default' }, answer: { weights, match: 'exact' } },
  });
});
