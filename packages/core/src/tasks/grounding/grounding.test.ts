import { expect, test } from 'vitest';
import { totalReward } from '../../reward/reward.ts';
import { taskDefinition } from '../registry.ts';
import { fillTemplate } from '../template.ts';
import { grounding } from './grounding.ts';
import { sample, SQUARE } from './testkit.ts';

type Input = Parameters<typeof grounding.parameters.parse>[0];
const create = (input: Input, solutions: readonly unknown[] = []) =>
  grounding.create(
    grounding.parameters.parse(input),
    solutions.map((solution) => sample(solution)),
  );
const GOLD = [{ bbox_2d: [100, 100, 200, 200], point_2d: [150, 150] }];
const gold = (changes: object) => ({ ...GOLD[0], ...changes });

// [label, answer, thinking?, thinking + format, accuracy, total]: numbers of the published function
test.each<[string, unknown, unknown, boolean, number, number, number]>([
  ['exact', GOLD, GOLD, true, 3, 3, 7],
  ['no thought', GOLD, GOLD, false, 2, 3, 6],
  ['a wrong extra', GOLD, [...GOLD, { bbox_2d: [500, 500, 600, 600], point_2d: [550, 550] }], true, 3, 1.5, 5.5],
  ['shifted by 10', GOLD, [gold({ bbox_2d: [110, 110, 210, 210] })], true, 3, 2, 6],
  ['error 9.75', GOLD, [gold({ bbox_2d: [109, 110, 210, 210] })], true, 3, 3, 7],
  ['point 30 px off', GOLD, [gold({ point_2d: [180, 150] })], true, 3, 2, 6],
  ['half', GOLD, [{ bbox_2d: [100, 100, 150, 200], point_2d: [160, 150] }], true, 3, 1, 5],
  ['nothing', GOLD, [], true, 1, 0, 2],
  ['no point', GOLD, [{ bbox_2d: [100, 100, 200, 200] }], true, 2, 0, 3],
  ['rightly nothing', [], [], true, 1, 0, 2],
  ['hallucination', [], GOLD, true, 3, 0, 4],
])('the reward visionreasoner: %s', (_, label, answer, thinks, format, accuracy, total) => {
  const task = create({ reward: 'visionreasoner' }, [GOLD]);
  const text = `${thinks ? '<think>a</think>' : ''}<answer>${JSON.stringify(answer)}</answer>`;
  const terms = task.terms({ text, stop: 'eos' }, task.parseTruth(sample(label)), [SQUARE]);
  expect(terms.thinking! + terms.format!).toBe(format);
  expect(terms.accuracy).toBe(accuracy);
  expect(totalReward(terms, task.weights)).toBe(total);
});

test('the reward visionreasoner asks for points', () => {
  expect(() => create({ reward: 'visionreasoner' }, [[{ bbox_2d: [1, 2, 3, 4] }]])).toThrow('needs labels with points');
});

test('the default reward credits an honest empty list and not a hallucination', () => {
  const task = create({});
  const reward = (label: unknown, json: string, thought = '<think> x</think>') => {
    const answer = { text: `${thought}<answer>${json}</answer>`, stop: 'eos' } as const;
    return totalReward(task.terms(answer, task.parseTruth(sample(label)), [SQUARE]), task.weights);
  };
  expect(reward([], '[]')).toBe(5.5);
  expect(reward([], '[]', '')).toBe(5);
  expect(reward([], '[{"bbox_2d":[1,2,3,4]}]')).toBe(2.5);
  expect(reward([{ bbox_2d: [1, 2, 30, 40] }], '[{"bbox_2d":[1,2,30,40]}]')).toBe(5.5);
  expect(reward([{ bbox_2d: [1, 2, 30, 40] }], 'none')).toBe(0.5);
});

test('decimal points of an answer end no sentences, full stops of a thought do', () => {
  const task = create({});
  const terms = (thought: string) => {
    const text = `<think>${thought}</think><answer>[{"bbox_2d":[5.0,5.0,5.0,5.0]}]</answer>`;
    return task.terms({ text, stop: 'eos' }, { objects: [] }, [SQUARE]);
  };
  expect(terms('a. b. c').nonRepeat).toBe(1);
  expect(terms(' x. a. b. a. b. c').nonRepeat).toBe(0);
});

test('the first name of the reward visionreasoner still is one', () => {
  expect(grounding.parameters.parse({ reward: 'published' }).reward).toBe('visionreasoner');
});

test('weights left out are those of the reward', () => {
  expect(create({}).weights).toEqual({ thinking: 0.5, format: 1, accuracy: 1, nonRepeat: 0 });
  expect(create({ weights: { thinking: 0 } }).weights).toEqual({ thinking: 0, format: 1, accuracy: 1, nonRepeat: 0 });
  expect(create({ reward: 'visionreasoner' }, [GOLD]).weights).toEqual({
    thinking: 1,
    format: 1,
    accuracy: 1,
    nonRepeat: 1,
  });
});

test('the prompt is the published one where labels have points', () => {
  const ask = (task: ReturnType<typeof create>) => fillTemplate(task.template, task.variables('The Red "Circle".'));
  expect(ask(create({}, [GOLD]))).toBe(
    'Please find "the red "circle"" with bboxs and points.Compare the difference between object(s) and find the most closely matched object(s).Output the thinking process in <think> </think> and final answer in <answer> </answer> tags.Output the bbox(es) and point(s) inside the interested object(s) in JSON format.i.e., <think> thinking process here </think><answer>[{"bbox_2d": [10,100,200,210], "point_2d": [30,110]}, {"bbox_2d": [225,296,706,786], "point_2d": [302,410]}]</answer>',
  );
  expect(ask(create({}, [[]]))).not.toMatch(/point/);
});

test('a template keeps values as they are and refuses variables it does not know', () => {
  expect(fillTemplate('find {Question} {x}', { Question: '{Answer} $&' })).toBe('find {Answer} $& {x}');
  expect(() => fillTemplate('find {Object}', { Question: 'x' })).toThrow('{Object}');
});

test('the wrong answer is well formed, thinks, and is not accurate', () => {
  const task = create({ boxError: 200 });
  for (const label of [[], [{ bbox_2d: [0, 0, 20, 20] }], [{ bbox_2d: [0, 0, 840, 840] }]]) {
    const truth = task.parseTruth(sample(label));
    const text = task.wrongButWellFormed(truth, [SQUARE]);
    const { thinking, format, accuracy } = task.terms({ text, stop: 'eos' }, truth, [SQUARE]);
    expect({ thinking, format, accuracy }).toEqual({ thinking: 1, format: 2, accuracy: 0 });
  }
});

test('metrics in percent; malformed answers say nothing about absence', () => {
  const task = create({});
  const evaluate = (label: unknown, text: string) =>
    task.evaluate({ text, stop: 'eos' }, task.parseTruth(sample(label)), [SQUARE]);
  const present = [{ bbox_2d: [0, 0, 10, 10] }];
  const metrics = task.metrics([
    evaluate(present, '<think> a</think><answer>[{"bbox_2d":[0,0,10,5]},{"bbox_2d":[0,0,5,5]}]</answer>'),
    evaluate(present, '<answer>[]</answer>'),
    evaluate([], '<think> a</think><answer>[]</answer>'),
    evaluate([], '<answer>nothing</answer>'),
    evaluate([], '<think> a</think><answer>[{"bbox_2d":[0,0,5,5]}]</answer>'),
  ]);
  expect(metrics.gIoU).toBeCloseTo(30, 10);
  expect(metrics.nAcc).toBeCloseTo(100 / 3, 10);
  expect(metrics).toMatchObject({ presentIoU: 25, falseEmpty: 50, thinking: 60, malformed: 20 });
  expect(task.metrics([evaluate(present, '')])).not.toHaveProperty('nAcc');
});

test('parse gives what a response points at', () => {
  const frame = { ...SQUARE, width: 420 };
  expect(create({}, [GOLD]).parse(`<answer>${JSON.stringify(GOLD)}</answer>`, [frame])).toEqual({
    wellFormed: true,
    boxes: [[50, 100, 100, 200]],
    points: [[75, 150]],
  });
  expect(create({}).parse('no', [frame])).toEqual({ wellFormed: false, boxes: [], points: [] });
});

test('tasks are found by name', () => {
  expect(taskDefinition('grounding').name).toBe('grounding');
  expect(() => taskDefinition('ground')).toThrow('choose one of: grounding, box, click, anomaly, math, answer');
});
