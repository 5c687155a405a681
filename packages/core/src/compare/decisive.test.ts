import { expect, test } from 'vitest';
import { parseConfig } from '../config/load.ts';
import { PARADIGMS } from '../schedule/paradigm.ts';
import { taskNames } from '../tasks/registry.ts';
import { said, saidOfQuestions } from './decisive.ts';

const minimal = { model: 'm', output: 'o', steps: 3, data: { train: 't' } };
const saidOf = (changes: object): Record<string, unknown> =>
  Object.fromEntries(said(parseConfig({ ...minimal, ...changes })));

/** Where this fails for a new key: give it a line in `UNSAID`. For one that is there: its default has changed. */
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
  };
  expect(Object.fromEntries(saidOfQuestions(parseConfig(config)))).toEqual({
    thinking: 'whenCorrect',
    'data.maxPixels': 3136,
    precision: 'bfloat16',
  });
});
