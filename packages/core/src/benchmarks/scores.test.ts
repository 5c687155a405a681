import { expect, test } from 'vitest';
import { pythonRound, pythonText } from '../tasks/python.ts';
import { normaliseMathVista } from '../tasks/math/mathvista.ts';
import { popeMetrics } from './pope.ts';
import { buildQuery, letterChoice, mathvista, publishedBox } from './mathvista.ts';
import { realiad } from './realiad.ts';
import { markClick } from './clicks.ts';
import { clickPenalty, markScript, readScript, scriptScores, writePenalty } from './omniact.ts';
import { PIXELS } from './predictions.ts';
import { documentAnls, popeVerdict, relaxedAccuracy } from './texts.ts';

const CONTROL = [100, 100, 200, 140] as const;
const answer = (list: unknown): string => `<answer>${JSON.stringify(list)}</answer>`;

test.each<[string, boolean]>([
  [answer([{ point_2d: [100, 100] }]), true],
  [answer([{ point_2d: [200, 140] }]), true],
  [answer([{ point_2d: [200.5, 120] }]), false],
  [answer([{ bbox_2d: [120, 100, 180, 140] }]), true],
  ['hm', false],
])('a click %s', (text, hit) => {
  expect(markClick({ text, frame: PIXELS }, CONTROL, 'official').hit).toBe(hit);
});

test('of several points visurf takes any, in whole pixels, and the official rule the first', () => {
  const said = { text: answer([{ point_2d: [0, 0] }, { point_2d: [150, 120] }]), frame: PIXELS };
  expect(['visurf', 'official'].map((each) => markClick(said, CONTROL, each as 'visurf').hit)).toEqual([true, false]);
});

// Penalties of writing by nltk.
test('penalties of OmniACT', () => {
  const clicks = [
    [150, 120],
    [200, 140],
    [230, 180],
    [50, 120],
    [150, -9900],
  ] as const;
  const expected = [0, 0, 0.317051, 0.317051, 0.989344];
  clicks.forEach((point, i) => expect(clickPenalty(point, CONTROL)).toBeCloseTo(expected[i]!, 6));
  const words = ['hello', 'hallo', 'hell', 'hello world', ''];
  const penalties = [0, 0.367544, 0.221199, 0.573599, 1];
  words.forEach((word, i) => expect(writePenalty('hello', word)).toBeCloseTo(penalties[i]!, 6));
  expect(writePenalty('a', 'a')).toBe(1);
});

test('scores of OmniACT are weighted by the length of scripts', () => {
  const script = (text: string) => readScript(text);
  const gold = script('pyautogui.click(150,120)');
  const long = script('pyautogui.click(150,120)\npyautogui.write("hello")\npyautogui.press("enter")');
  const marks = [
    markScript(script('pyautogui.click(230, 180)'), gold, [CONTROL]),
    markScript(long, long, [CONTROL]),
    markScript(
      script('pyautogui.click(150,120)\npyautogui.scroll(1)'),
      script('pyautogui.click(150,120)\npyautogui.press("a")'),
      [CONTROL],
    ),
  ];
  const { sequenceScore, actionScore } = scriptScores(marks);
  expect([sequenceScore, actionScore]).toEqual([expect.closeTo(66.6667, 3), expect.closeTo(65.7059, 3)]);
});

test.each<[string, string, boolean]>([
  ['10.5', '10', true],
  ['10', '9.5', false],
  ['105', '100', true],
  ['1.05', '1', false],
  ['5%', '0.05', true],
  ['5', '5%', false],
  ['0', '0', true],
  ['0.0', '0', false],
  ['Yes', 'yes', true],
  ['1,000', '1000', false],
  ['-9.5', '-10', true],
  ['nan', '5', false],
])('ChartQA %s / %s', (said, truth, right) => {
  expect(relaxedAccuracy(said, truth)).toBe(right);
});

test.each<[string, string[], number]>([
  ['hello wrld', ['hello world'], 0.909091],
  ['', ['abc'], 0],
  ['', [''], 1],
  ['abxx', ['abcd'], 0.5],
  ['axx', ['abc'], 0],
  ['2010', ['2010', 'year 2010'], 1],
  ['a B', ['A  b'], 1],
  ['abd   ', ['abc'], 0.833333],
  ['kitten', ['sitting'], 0.571429],
  ['no', ['yes'], 0],
])('ANLS %s %j', (said, references, expected) => {
  expect(documentAnls(said, references)).toBeCloseTo(expected, 6);
});

test.each([
  ['Yes, there is.', 'yes'],
  ['No.', 'no'],
  ['NO', 'yes'],
  ["There isn't a dog", 'yes'],
  ['I do not see a dog', 'no'],
  ['Not at all', 'yes'],
  ['', 'yes'],
  ['Yes. There is no cat.', 'yes'],
])('POPE reads %j as %s', (text, verdict) => {
  expect(popeVerdict(text)).toBe(verdict);
});

test.each<[string, string, Record<string, number>]>([
  ['1100', '1010', { accuracy: 50, precision: 50, recall: 50, f1: 50, yesRatio: 50 }],
  ['1100', '0000', { accuracy: 50, precision: 0, recall: 0, f1: 0, yesRatio: 0 }],
  ['1100', '1111', { precision: 50, recall: 100, f1: 200 / 3 }],
  ['1110', '1100', { accuracy: 75, precision: 100, recall: 200 / 3, f1: 80 }],
])('POPE %s %s', (truth, said, expected) => {
  const metrics = popeMetrics(Array.from(truth, (each, i) => ({ present: each === '1', saysYes: said[i] === '1' })));
  for (const [name, value] of Object.entries(expected)) expect(metrics[name]).toBeCloseTo(value, 6);
});

const CHOICES = ['10 cm', '12 cm', '15 cm', '20 cm'];
test.each([
  ...[
    ['(B)', '12 cm'],
    ['B', '12 cm'],
    ['B) 12 cm', '12 cm'],
    ['12', '12 cm'],
    ['b', '10 cm'],
    ['The answer is (c).', '15 cm'],
  ],
  ...[
    ['', '10 cm'],
    ['(e)', '10 cm'],
    ['E', '10 cm'],
  ],
])('MathVista reads the choice %j as %s', (said, choice) => {
  const question = { questionType: 'multi_choice', answerType: 'text', precision: 0, choices: CHOICES } as const;
  expect(normaliseMathVista(said, question)).toBe(choice);
  expect(normaliseMathVista('Neither', { ...question, choices: ['Yes', 'No'] })).toBe('Yes');
});

test.each<[string, 'integer' | 'float', number, string | null]>([
  ...(
    [
      ['12.7', '12'],
      ['-0.5', '0'],
      ['1e3', '1000'],
      [' 7 ', '7'],
      ['12 cm', null],
      ['1,000', null],
      ['inf', null],
      ['', null],
    ] as const
  ).map(([said, value]): [string, 'integer', number, string | null] => [said, 'integer', 0, value]),
  ['2.25', 'float', 1, '2.2'],
  ['.15', 'float', 1, '0.1'],
  ['2.675', 'float', 2, '2.67'],
  ['5', 'float', 1, '5.0'],
  ['3.10', 'float', 2, '3.1'],
  ['-0.04', 'float', 1, '-0.0'],
  ['131253.46', 'float', 1, '131253.5'],
  ['abc', 'float', 1, null],
])('MathVista reads %j as %s of precision %d', (said, answerType, precision, value) => {
  expect(normaliseMathVista(said, { questionType: 'free_form', answerType, precision, choices: [] })).toBe(value);
});

test('MathVista has lists as they are written', () => {
  const truth = {
    questionType: 'free_form',
    answerType: 'list',
    precision: 0,
    choices: [],
    answer: '[2014, 2016]',
    groups: [],
  } as const;
  const marks = ['[2014, 2016]', '[2014,2016]'].map((said) =>
    mathvista.mark({ text: `\\boxed{${said}}`, frame: PIXELS }, truth, 'official'),
  );
  expect(marks).toMatchObject([{ right: true }, { right: false }]);
});

// Expected: scikit-learn; of one class the area is undefined, never a half.
test.each([
  ['0011', [0.1, 0.4, 0.35, 0.8], 75],
  ['011', [0.2, 0.2, 0.9], 75],
  ['01', [0.9, 0.1], 0],
  ['001', [0.3, 0.7, 0.7], 75],
  ['11', [0.3, 0.7], null],
])('Real-IAD: the area of %s scored %j is %s', async (classes, scores, expected) => {
  const marks = await Array.fromAsync(scores, (probability, i) => {
    const truth = { category: 'pcb', positive: classes[i] === '1', isMarked: () => Promise.resolve(false) };
    return realiad.mark({ text: '', frame: PIXELS, probability }, truth, 'official');
  });
  const { metrics } = realiad.summarise(marks, 'official');
  expect([metrics['rocAuc'], metrics['rocAuc.pcb']]).toEqual([expected, expected]);
});

test('ViSurf names choices by first letters', () => {
  const choices = ['v', 'w', 'x', 'y', 'z'];
  expect(['B', 'b', '(B)', '2', '', '\\text{B}'].map((said) => letterChoice(said, choices))).toEqual([
    'w',
    'w',
    '',
    '',
    '',
    'v',
  ]);
  expect(['a \\boxed{1} \\boxed{\\frac{1}{2}}', '\\boxed{1} \\boxed{2', 'none'].map(publishedBox)).toEqual([
    '\\frac{1}{2}',
    'None',
    '',
  ]);
  expect(pythonText(pythonRound(2.25, 1))).toBe('2.2');
});

test('MathVista puts a question with hint, unit and choices', () => {
  const common = { question: 'How long?', precision: null, unit: 'cm' };
  expect(buildQuery({ ...common, question_type: 'multi_choice', answer_type: 'text', choices: ['1', '2'] })).toBe(
    'Hint: Please answer the question and provide the correct option letter, e.g., A, B, C, D, at the end.\n' +
      'Question: How long? (Unit: cm)\nChoices:\n(A) 1\n(B) 2',
  );
});
