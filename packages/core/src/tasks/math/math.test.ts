import { expect, test } from 'vitest';
import { sample } from '../grounding/testkit.ts';
import { boxedContent, boxedFormat } from './boxed.ts';
import { math } from './math.ts';
import { pythonRound } from '../python.ts';
import { chosen } from './choices.ts';
import { normaliseMathVista, type MathVistaQuestion } from './mathvista.ts';
import { sameValue } from './value.ts';

test.each([
  ['\\boxed{7}', '7'],
  ['a \\boxed{1} b \\boxed{\\frac{1}{2}} c', '\\frac{1}{2}'],
  ['\\boxed{1} \\boxed{2', '1'],
  ['\\boxed{}', ''],
  ['} \\boxed{3}', '3'],
  ['\\boxed{a \\boxed{b} c}', 'b'],
  ['\\boxed{4} \\boxed{\\boxed{', '4'],
  ['7', undefined],
])('the content of %j is %j', (text, content) => {
  expect(boxedContent(text)).toBe(content);
});

test.each<[string, 0 | 1]>([
  ['<think> a</think>\\boxed{2}', 1],
  ['<think> a</think>\n\\boxed{\\frac{1}{2}} ', 1],
  ['\\boxed{2}', 0],
  ['<think> </think>\\boxed{2}', 0],
  ['<think> a</think>so \\boxed{2}', 0],
  ['<think> a</think>\\boxed{2} and more', 0],
  ['<think> a</think>\\boxed{1}\\boxed{2}', 0],
  ['<think> a', 0],
])('thinking format of %j', (text, expected) => {
  expect(boxedFormat({ text, stop: 'eos' })).toBe(expected);
});

test.each([
  ['1.20', '1.2', true],
  ['x\u00B2', 'x^2', true],
  ['2\u00BD', '2.5', true],
  ['\uFF12\uFF0E\uFF15', '2.5', true],
  ['12\u3002', '12', true],
  ['\u22125', '-5', true],
  ['\u0661\u0662', '12', true],
  ['5\\text{ to }6', '30', false],
  ['50\\frac{\\text{km}}{\\text{h}}', '50', true],
  ['10000000000000000000000', '10^{22}', true],
  ['10000000000000000000001', '10^{22}', false],
  ['1\\frac12', '\\frac{11}{2}', false],
  ['\\frac{1}{23}', '\\frac{12}{3}', false],
  ['6/5', '1.2', true],
  ['\\frac{6}{5}', '1.2', true],
  ['-\\frac{1}{2}', '-0.5', true],
  ['3.0', '3', true],
  ['50\\%', '0.5', true],
  ['50%', '0.5', true],
  ['1,000', '1000', true],
  ['$ 7 $', '7', true],
  ['30^{\\circ}', '30', true],
  ['30°', '30', true],
  ['\\text{Red}', 'red', true],
  ['7', '8', false],
  ['1/0', '0', false],
  ['', '0', false],
  ['x + 1', 'x+1', true],
  ['1+x', 'x+1', true],
])('%j and %j: %s', (a, b, same) => {
  expect(sameValue(a, b)).toBe(same);
});

const CHOICES = ['10 cm', '12 cm', '15 cm', '20 cm'];

test.each([
  ['B', 1],
  ['(b)', 1],
  ['\\text{B}', 1],
  ['12 cm', 1],
  ['E', undefined],
  ['12', 1],
  ['13', undefined],
  ['', undefined],
])('%j names choice %s', (answer, index) => {
  expect(chosen(answer, CHOICES)).toBe(index);
});

// Expected values of MathVista's own functions.
const choice: MathVistaQuestion = { questionType: 'multi_choice', answerType: 'text', precision: 0, choices: CHOICES };
test.each([
  ['(B)', '12 cm'],
  ['B', '12 cm'],
  ['B) 12 cm', '12 cm'],
  ['12', '12 cm'],
  ['b', '10 cm'],
  ['The answer is (c).', '15 cm'],
  ['', '10 cm'],
  ['(e)', '10 cm'],
  ['E', '10 cm'],
])('MathVista reads %j as the choice %j', (said, expected) => {
  expect(normaliseMathVista(said, choice)).toBe(expected);
});

test('MathVista takes the first of equally near choices', () => {
  expect(normaliseMathVista('Neither', { ...choice, choices: ['Yes', 'No'] })).toBe('Yes');
});

const free = (answerType: MathVistaQuestion['answerType'], precision = 0): MathVistaQuestion => ({
  questionType: 'free_form',
  answerType,
  precision,
  choices: [],
});
test.each([
  ['12.7', '12'],
  ['-0.5', '0'],
  ['1e3', '1000'],
  [' 7 ', '7'],
  ['1_000', '1000'],
  ['12 cm', null],
  ['1,000', null],
  ['inf', null],
  ['', null],
])('MathVista reads %j as the integer %j', (said, expected) => {
  expect(normaliseMathVista(said, free('integer'))).toBe(expected);
});
test.each([
  ['2.25', 1, '2.2'],
  ['.15', 1, '0.1'],
  ['2.675', 2, '2.67'],
  ['5', 1, '5.0'],
  ['3.10', 2, '3.1'],
  ['-0.04', 1, '-0.0'],
  ['131253.46', 1, '131253.5'],
  ['2.75', 1, '2.8'],
  ['-2.25', 1, '-2.2'],
  ['inf', 1, 'inf'],
  ['1e16', 1, '1e+16'],
  ['abc', 1, null],
])('MathVista reads %j with %d decimals as %j', (said, precision, expected) => {
  expect(normaliseMathVista(said, free('float', precision))).toBe(expected);
});
test('MathVista compares lists as they are written, and halves go to even', () => {
  expect(normaliseMathVista('[2014,2016]', free('list'))).toBe('[2014,2016]');
  expect([0.5, 1.5, 2.5, -0.5].map((value) => pythonRound(value, 0))).toEqual([0, 2, 2, -0]);
});

const task = math.create(math.parameters.parse({}), []);
const ask = (said: string, solution: string, extra: Record<string, unknown> = {}) =>
  task.evaluate({ text: `<think> a</think>${said}`, stop: 'eos' }, task.parseTruth(sample(solution, { extra })), []);

test('choices are answered by letter or by text, and the label names its letter', () => {
  const extra = { choices: CHOICES };
  expect(ask('\\boxed{c}', '15 cm', extra)).toMatchObject({ right: true, wellFormed: true, thinking: true });
  expect(ask('\\boxed{15 cm}', '15 cm', extra).right).toBe(true);
  expect(ask('\\boxed{D}', '15 cm', extra).right).toBe(false);
  const truth = task.parseTruth(sample('15 cm', { extra }));
  expect(task.forms[0]!.write(truth, [])).toBe('\\boxed{C}');
  expect(task.wrongButWellFormed(truth, [])).toBe('<think> wrong</think>\\boxed{A}');
  expect(() => task.parseTruth(sample('C', { extra }))).toThrow('not one of several choices');
});

test('solutions that cannot stand in a box are refused', () => {
  for (const solution of ['}', '{', '1}{2', '<think>', '$$ </answer>']) {
    expect(() => task.parseTruth(sample(solution))).toThrow('cannot stand in');
  }
  expect(ask('\\boxed{5}', '\\boxed{5}').right).toBe(true);
});

test('choices may be as many as there are, in any form of Unicode, and repeated', () => {
  const choices = Array.from({ length: 30 }, (_, i) => `choice ${i}`).concat('caf\u00E9', ' cafe\u0301 ');
  for (const solution of ['choice 0', 'choice 29', 'cafe\u0301']) {
    const truth = task.parseTruth(sample(solution, { extra: { choices } }));
    for (const form of task.forms) {
      expect(task.terms({ text: form.write(truth, []), stop: 'eos' }, truth, []).accuracy).toBe(1);
    }
  }
  expect(ask('\\boxed{5}', '5 m', { choices: ['5 cm', '5 m'] }).right).toBe(false);
  expect(ask('\\boxed{\\frac{1}{\\sqrt2}}', '\\sqrt2/2', { choices: ['\\sqrt2', '\\sqrt2/2'] }).right).toBe(true);
});

test('numbers of any size are numbers', () => {
  const extra = { question_type: 'free_form', answer_type: 'float', precision: 2 };
  for (const said of ['1000000000000000000000', '1e308', '9'.repeat(400), `0.${'1'.repeat(32_000)}`]) {
    const all = [ask(`\\boxed{${said}}`, '5.0', extra), ask(`\\boxed{${said}}`, said)];
    expect(task.metrics(all)).toMatchObject({ accuracy: 50, mathVista: 0 });
  }
});

test("samples with MathVista's fields are scored by its rule, too", () => {
  const extra = { question_type: 'free_form', answer_type: 'float', precision: 1, choices: null };
  const all = [ask('\\boxed{5}', '5.0', extra), ask('\\boxed{50/10}', '5.0', extra), ask('5.0', '5.0')];
  expect(task.metrics(all).mathVista).toBe(50);
  expect(task.metrics(all).accuracy).toBeCloseTo(200 / 3, 10);
  expect(task.metrics([ask('\\boxed{1}', '1')])).not.toHaveProperty('mathVista');
});
