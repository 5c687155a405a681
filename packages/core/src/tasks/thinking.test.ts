import { expect, test } from 'vitest';
import { nonRepeat, thinkingFormat } from './thinking.ts';

test.each<[string, 0 | 1]>([
  ['<think> a</think><answer>[]</answer>', 1],
  ['<think>a < b\n</think>\n <answer>anything</answer>\n', 1],
  ['<answer>[]</answer>', 0],
  ['<think> </think><answer>[]</answer>', 0],
  ['<think> a</think><answer>[]', 0],
  ['<think> a</think><answer>[]</answer> and more', 0],
  ['so <think> a</think><answer>[]</answer>', 0],
  ['<think> a</think> so <answer>[]</answer>', 0],
  ['<think> a</think><think> b</think><answer>[]</answer>', 0],
  ['<think> a</think><answer>[]</answer><answer>[]</answer>', 0],
  ['<answer>[]</answer><think> a</think>', 0],
  ['', 0],
])('thinking format of %j', (text, expected) => {
  expect(thinkingFormat({ text, stop: 'eos' })).toBe(expected);
  expect(thinkingFormat({ text, stop: 'length' })).toBe(0);
});

test('non-repeat is 0 once two sentences repeat earlier ones', () => {
  expect(nonRepeat('a. b. c.')).toBe(1);
  expect(nonRepeat('a. b. a.')).toBe(1);
  expect(nonRepeat('a. b. a. b')).toBe(0);
  expect(nonRepeat('a. a.a')).toBe(0);
  expect(nonRepeat('....')).toBe(1);
});
