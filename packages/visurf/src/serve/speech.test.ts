import fc from 'fast-check';
import { expect, test } from 'vitest';
import { heardIn, Speech } from './speech.ts';

test.each<[string, string, string]>([
  ['<think> look</think><answer>[1]</answer>', ' look', '[1]'],
  ['\n<think>a</think>\n<answer> yes</answer> and more', 'a', ' yes'],
  ['<answer>[]</answer>', '', '[]'],
  ['<think>a</think>\\boxed{2}', 'a', '\\boxed{2}'],
  ['<think>cut o', 'cut o', ''],
  ['<think>a</think><answer>[{"b', 'a', '[{"b'],
  ['I see <answer>7</answer>', 'I see ', '7'],
  ['no tags < at all', '', 'no tags < at all'],
  ['', '', ''],
])('%j', (text, reasoning, content) => {
  expect(heardIn(text, true)).toEqual({ reasoning, content });
});

test('a model without tags is heard as it is', () => {
  expect(heardIn('I see <answer>7</answer>', false)).toEqual({ reasoning: '', content: 'I see <answer>7</answer>' });
});

test('the same is heard however the text is cut', () => {
  const parts = ['<think>', '</think>', '<answer>', '</answer>', 'a', '<', ' ', '</', '\n', 'ans', '>'];
  const texts = fc.array(fc.constantFrom(...parts), { maxLength: 12 }).map((all) => all.join(''));
  fc.assert(
    fc.property(texts, fc.boolean(), fc.array(fc.nat(60), { maxLength: 6 }), (text, isTagged, cuts) => {
      const places = [0, ...cuts.filter((cut) => cut <= text.length).sort((a, b) => a - b), text.length];
      const speech = new Speech(isTagged);
      const heard = [...places.slice(1).map((end, i) => speech.push(text.slice(places[i], end))), speech.end()];
      const joined = (key: 'reasoning' | 'content'): string => heard.map((each) => each[key]).join('');
      expect({ reasoning: joined('reasoning'), content: joined('content') }).toEqual(heardIn(text, isTagged));
    }),
  );
});
