import { expect, test } from 'vitest';
import { sample } from '../grounding/testkit.ts';
import { answer } from './answer.ts';
import { anls, exactMatch, relaxedMatch } from './strings.ts';

// Expected values of lmms-eval's functions.
test.each([
  ['10.5', '10', 1],
  ['10', '9.5', 0],
  ['105', '100', 1],
  ['1.05', '1', 0],
  ['5%', '0.05', 1],
  ['5', '5%', 0],
  ['0', '0', 1],
  ['0.0', '0', 0],
  ['Yes', 'yes', 1],
  ['1,000', '1000', 0],
  ['-9.5', '-10', 1],
  ['nan', '5', 0],
])('relaxed match of %j with %j: %d', (said, truth, expected) => {
  expect(relaxedMatch(said, truth)).toBe(expected);
});

test.each([
  ['hello world', 'hello wrld', 0.909091],
  ['abc', '', 0],
  ['', '', 1],
  ['abcd', 'abxx', 0.5],
  ['abc', 'axx', 0],
  ['A  b', 'a B', 1],
  ['abc', 'abd   ', 0.833333],
  ['kitten', 'sitting', 0.571429],
  ['no', 'yes', 0],
])('ANLS of %j and %j: %d', (said, truth, expected) => {
  expect(anls(said, truth)).toBeCloseTo(expected, 6);
});

test('exact match knows no case, no spaces around, no full stop', () => {
  expect(exactMatch(' Red.', 'red')).toBe(1);
  expect(exactMatch('dark  red', 'dark red')).toBe(1);
  expect(exactMatch('reddish', 'red')).toBe(0);
});

test('the best of several true answers counts', () => {
  const task = answer.create(answer.parameters.parse({ match: 'anls' }), []);
  const truth = task.parseTruth(sample(['2010', 'year 2010']));
  const evaluate = (said: string) => task.evaluate({ text: said, stop: 'eos' }, truth, []);
  expect(evaluate('<answer>year 201</answer>').match).toBeCloseTo(8 / 9, 12);
  expect(task.metrics([evaluate('<answer>2010</answer>'), evaluate('2010')])).toEqual({
    accuracy: 50,
    thinking: 0,
    malformed: 50,
  });
});
