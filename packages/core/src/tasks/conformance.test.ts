/** What every task promises, checked on all that are registered. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { controlLabel, type LabelSettings } from '../label/control.ts';
import { makeScorer, scoreTerms, totalReward } from '../reward/reward.ts';
import type { Frame } from '../types.ts';
import { sample, SQUARE } from './grounding/testkit.ts';
import { taskDefinition, taskNames } from './registry.ts';
import { fillTemplate } from './template.ts';

interface Case {
  /** Solutions, with other fields of the sample where they need some. */
  readonly solutions: readonly unknown[];
  readonly extra?: Readonly<Record<string, unknown>>;
  /** What the task must refuse. */
  readonly bad: readonly string[];
}

const CASES: Readonly<Record<string, Case>> = {
  grounding: {
    solutions: [[], [{ bbox_2d: [10, 20, 300, 400] }], [{ bbox_2d: [1, 2, 3, 4] }, { bbox_2d: [5, 6, 70, 80] }]],
    bad: ['no JSON', '{}', '[{"bbox_2d":[1,2,3]}]'],
  },
  box: { solutions: [[{ bbox_2d: [10, 20, 300, 400] }]], bad: ['[]', '[1]', '[{"bbox_2d":[3,3,3,4]}]'] },
  click: { solutions: [[{ bbox_2d: [10, 20, 31, 40] }]], bad: ['[]', '[{"point_2d":[1,2]}]', 'here'] },
  anomaly: { solutions: ['yes', 'no', 'No'], bad: ['', 'perhaps'] },
  math: { solutions: ['7', '-2.5', '\\frac{1}{2}', 'x+1'], bad: [' '] },
  answer: { solutions: ['red', ['two', '2']], bad: ['[]', '[""]'] },
};

const ONE_OBJECT: Case = {
  solutions: [[{ bbox_2d: [10, 20, 300, 400], point_2d: [50, 60], second_2d: [70, 80] }]],
  bad: ['[]', '[{"bbox_2d":[10,20,300,400]}]', '[{"bbox_2d":[1,2,3,4],"point_2d":[2,3],"second_2d":[9]}]'],
};

/** Tasks with published rewards, under `task.reward`. */
const PUBLISHED: readonly (readonly [task: string, reward: string, Case])[] = [
  ['grounding', 'visionreasoner', { ...ONE_OBJECT, bad: ONE_OBJECT.bad.slice(1) }],
  ['grounding', 'seg-zero', ONE_OBJECT],
  ['box', 'seg-zero', ONE_OBJECT],
  ['grounding', 'vlm-r1', { ...CASES['box']!, bad: ['[]', '[{"bbox_2d":[1,2]}]'] }],
  ['math', 'mathruler', CASES['math']!],
  ['math', 'r1v', CASES['math']!],
];

/** Tasks whose answers may be right in part, as their parameters are here. */
const PARTLY_RIGHT = ['grounding', 'box', 'click', 'grounding visionreasoner', 'grounding seg-zero', 'box seg-zero'];
/** Published rewards by which a right label ties with a wrong answer that thinks. */
const TIES = ['grounding vlm-r1', 'math r1v'];

const CONTROL: LabelSettings = { inject: 'always', eliminate: 'on', thinking: 'eliminate', smooth: 'reward' };
const OTHER: Frame = { width: 640, height: 427, modelWidth: 1000, modelHeight: 1000 };
const eos = (text: string) => ({ text, stop: 'eos' }) as const;

test('every task is checked here', () => {
  expect(Object.keys(CASES).sort()).toEqual([...taskNames()].sort());
});

const all = [
  ...taskNames().map((name) => [name, { name, parameters: {}, ...CASES[name]! }] as const),
  ...PUBLISHED.map(([name, reward, own]) => [`${name} ${reward}`, { name, parameters: { reward }, ...own }] as const),
];

describe.each(all)('%s', (title, { name, parameters, solutions, extra = {}, bad }) => {
  const definition = taskDefinition(name);
  const samples = solutions.map((solution) => sample(solution, { extra, task: name }));
  const task = definition.create(definition.parameters.parse(parameters), samples);
  const scorer = makeScorer(task);
  const subjects = samples.flatMap((each) =>
    [SQUARE, OTHER].map((frame) => ({ sample: each, frames: [frame], truth: task.parseTruth(each, [frame]) })),
  );

  test('has a prompt that its variables fill', () => {
    const prompt = fillTemplate(task.template, task.variables('The Question.'));
    expect(prompt.toLowerCase()).toContain('the question');
    expect(prompt).not.toMatch(/\{[A-Z]\w*\}/);
  });

  test('refuses solutions that it cannot read, and says where they are', () => {
    for (const solution of bad) {
      expect(() => task.parseTruth(sample(solution, { extra, task: name }))).toThrow('train.jsonl:7 (s1)');
    }
  });

  test('has one weight for every term, and knows which terms are controlled', () => {
    const terms = task.terms(eos(''), subjects[0]!.truth, [SQUARE]);
    expect(Object.keys(terms).sort()).toEqual(Object.keys(task.weights).sort());
    expect(terms).toHaveProperty(task.thinkingTerm);
    expect(terms).toHaveProperty(task.accuracyTerm);
  });

  test('writes a label in forms that all say the same, and recognises them', () => {
    expect(new Set(task.forms.map((form) => form.name)).size).toBe(task.forms.length);
    for (const { truth, frames } of subjects) {
      const [first] = task.forms.map((form) => form.write(truth, frames));
      const texts = new Map<string, string>();
      for (const form of task.forms) {
        const text = form.write(truth, frames);
        expect(task.parse(text, frames).wellFormed).toBe(true);
        expect(task.terms(eos(text), truth, frames)).toEqual(task.terms(eos(first!), truth, frames));
        expect(task.evaluate(eos(text), truth, frames)).toEqual(task.evaluate(eos(first!), truth, frames));
        if (!texts.has(text)) texts.set(text, form.name);
        const recognised = task.recognise(`<think> a, b</think>${text}`);
        // Forms that read alike (of an empty list all do) cannot be told apart.
        if (recognised !== undefined) expect(recognised).toBe(texts.get(text));
      }
      const told = task.forms.filter((form) => task.recognise(form.write(truth, frames)) === form.name);
      if (texts.size === task.forms.length) expect(told).toHaveLength(task.forms.length);
    }
  });

  test('marks the thought, and the label as right', () => {
    for (const { truth, frames } of subjects) {
      const label = task.forms[0]!.write(truth, frames);
      const [without, withThought] = [label, `<think> so</think>${label}`].map((text) =>
        task.terms(eos(text), truth, frames),
      );
      expect(without![task.thinkingTerm]).toBe(0);
      expect(withThought).toEqual({ ...without, [task.thinkingTerm]: 1 });
      if ('reward' in parameters) continue;
      const cut = task.terms({ text: `<think> so</think>${label}`, stop: 'length' }, truth, frames);
      expect(cut[task.thinkingTerm]).toBe(0);
    }
  });

  test.skipIf(TIES.includes(title))('lets the label win against a wrong answer that is well formed and thinks', () => {
    for (const subject of subjects) {
      const { truth, frames } = subject;
      const wrong = task.wrongButWellFormed(truth, frames);
      const rival = scoreTerms(scorer, eos(wrong), subject);
      const label = scoreTerms(scorer, eos(task.forms[0]!.write(truth, frames)), subject);
      expect(task.parse(wrong, frames).wellFormed).toBe(true);
      expect(rival[task.thinkingTerm]).toBe(1);
      expect(rival[task.accuracyTerm]).toBeLessThan(label[task.accuracyTerm]!);
      const { reward, active } = controlLabel(scorer, label, [rival], CONTROL);
      expect(active).toBe(true);
      expect(reward).toBeGreaterThan(totalReward(rival, scorer.weights));
    }
  });

  test('knows an answer that is nearly right, where one can be', () => {
    const found = subjects.flatMap((subject) => {
      const { truth, frames } = subject;
      const nearly = task.nearlyRight(truth, frames);
      if (nearly === undefined) return [];
      const rival = scoreTerms(scorer, eos(nearly), subject);
      const label = scoreTerms(scorer, eos(task.forms[0]!.write(truth, frames)), subject);
      expect(task.parse(nearly, frames).wellFormed).toBe(true);
      expect(rival[task.thinkingTerm]).toBe(1);
      expect(rival[task.accuracyTerm]).toBeGreaterThan(0);
      expect(rival[task.accuracyTerm]).toBeLessThan(label[task.accuracyTerm]!);
      return [nearly];
    });
    expect(found.length > 0).toBe(PARTLY_RIGHT.includes(title));
  });

  test('reads any text without failing', () => {
    const pieces = [
      '<think>',
      '</think>',
      '<answer>',
      '</answer>',
      '[',
      ']',
      '{',
      '"bbox_2d":',
      '\\boxed{',
      '}',
      '1',
      ' ',
    ];
    const text = fc.oneof(
      fc.string(),
      fc.array(fc.oneof(fc.constantFrom(...pieces), fc.string({ maxLength: 3 }))).map((parts) => parts.join('')),
    );
    fc.assert(
      fc.property(text, fc.constantFrom(...subjects), (said, subject) => {
        const { truth, frames } = subject;
        const terms = scoreTerms(scorer, eos(said), subject);
        expect(Object.values(terms).every(Number.isFinite)).toBe(true);
        const { boxes, points } = task.parse(said, frames);
        expect([...boxes, ...points].flat().every(Number.isFinite)).toBe(true);
        const metrics = task.metrics([task.evaluate(eos(said), truth, frames)]);
        for (const value of Object.values(metrics)) expect(value >= 0 && value <= 100).toBe(true);
      }),
    );
  });

  test('gives a perfect score to labels, and none for nothing', () => {
    const perfect = task.metrics(
      subjects
        .filter(({ frames }) => frames[0] === SQUARE)
        .map(({ truth, frames }) => task.evaluate(eos(task.forms[0]!.write(truth, frames)), truth, frames)),
    );
    const { thinking, malformed, falseEmpty = 0, ...others } = perfect;
    expect([thinking, malformed, falseEmpty]).toEqual([0, 0, 0]);
    for (const value of Object.values(others)) expect(value).toBeCloseTo(100, 10);
    expect(Object.keys(others).length).toBeGreaterThan(0);
    expect(task.metrics([])).toEqual({});
  });
});
