/** Agreement with math-verify on pairs of usual spellings (oracle/mathematics.py), and where we judge otherwise. */
import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { sameAnswer } from './algebra.ts';
import { sameValue } from './value.ts';

type Pairs = readonly (readonly [truth: string, answer: string, equal: boolean])[];
const fixture = new URL('../../../../../oracle/fixtures/mathematics.json', import.meta.url);
const families = Object.entries(JSON.parse(readFileSync(fixture, 'utf8')) as Record<string, Pairs>);

/** What we call the same and math-verify does not, in either order: it reads these spellings as something else. */
const SAME: Readonly<Record<string, readonly string[]>> = {
  'a thin space groups digits': ['N | N\\,N\\,N'],
  'a temperature is a number with a unit': ['N^\\circ | N^{\\circ}C'],
  'a range is an interval, also where the truth is the interval': [
    '(N,\\infty) | x>N',
    '(-\\infty,N] | x\\le N',
    '(N,N) | N<x<N',
  ],
  'two signs for the empty set': ['\\emptyset | \\varnothing'],
  'sizes of brackets': ['(N,N) | \\big(N,N\\big)'],
  'a full stop ends an answer': ['A | A.', 'B | B.', 'D | D.', 'W | W.', '\\frac{N}{N} | \\frac{N}{N}.'],
  'the same words': ['W | W'],
  'layout and signs around a value': [
    '\\frac{N}{N} | \\mathbf{\\frac{N}{N}}',
    '\\frac{N}{N} | \\approx\\frac{N}{N}',
    'N | ~N',
    'N:N | N\\colon N',
    '\\frac{-b\\pm\\sqrt{b^N-Nac}}{Na} | \\frac{-b \\pm \\sqrt{b^{N}-Nac}}{Na}',
  ],
  'a mixed number in plain notation': ['N N/N | \\frac{N}{N}', 'N N/N | N.N'],
  'a product with a fraction, whose last letter it takes for a unit': ['\\frac{a}{b}c | \\frac{ac}{b}'],
  'units in a list': ['N\\text{ cm}, N\\text{ cm} | N, N', 'N\\text{ cm}, N\\text{ cm} | N,N'],
};

/** What math-verify calls the same and we do not. */
const DIFFERENT: Readonly<Record<string, readonly string[]>> = {
  'small numbers that are alike up to six decimals only': ['N.N\\times N^{-N} | .N'],
  'an interval with its ends is not a point': ['(N,N) | [N,N]'],
  'a tuple has an order, also against a list': ['N,N | (N,N)'],
  'a letter right behind a number is a variable, not a unit': ['N | Nm', 'N | Nt'],
  'two digits behind \\frac are its arguments': ['\\frac{N}{N} | \\fracN'],
};

const skeleton = (text: string): string =>
  text.replace(/\\text\{(?:yes|Monday|blue|even|right triangle)(\.?)\}|right triangle/g, 'W$1').replace(/\d+/g, 'N');
const known = (lists: Readonly<Record<string, readonly string[]>>): Set<string> =>
  new Set(
    Object.values(lists).flatMap((list) => list.flatMap((each) => [each, each.split(' | ').reverse().join(' | ')])),
  );

test('answers are judged as math-verify does, but for what is listed here', () => {
  const [same, different] = [known(SAME), known(DIFFERENT)];
  const unexplained: string[] = [];
  const found = new Set<string>();
  let agreed = 0;
  for (const [family, pairs] of families) {
    for (const [truth, answer, equal] of pairs) {
      const verdict = sameAnswer(answer, truth);
      const pair = `${skeleton(truth)} | ${skeleton(answer)}`;
      found.add(pair);
      if (verdict === equal) agreed += 1;
      else if (!(verdict ? same : different).has(pair)) unexplained.push(`${family}: ${truth} | ${answer}`);
    }
  }
  expect(unexplained).toEqual([]);
  expect(
    [...same, ...different].filter((pair) => !found.has(pair) && !found.has(pair.split(' | ').reverse().join(' | '))),
  ).toEqual([]);
  expect(families.flatMap(([, pairs]) => pairs)).toHaveLength(2506);
  expect(agreed).toBeGreaterThanOrEqual(2416);
});

test('the verdict does not depend on which of the two is the truth', () => {
  const asymmetric = families.flatMap(([, pairs]) => pairs.filter(([a, b]) => sameAnswer(a, b) !== sameAnswer(b, a)));
  expect(asymmetric).toEqual([]);
});

test('most of what is the same is found exactly', () => {
  const equal = families.flatMap(([, pairs]) => pairs.filter(([truth, answer]) => sameAnswer(answer, truth)));
  const exact = equal.filter(([truth, answer]) => sameValue(answer, truth));
  expect(exact.length / equal.length).toBeGreaterThan(0.9);
});

test('algebra that takes for ever, or all memory, is given up, and the next question is answered', () => {
  expect(sameAnswer('\\sum_{k=1}^{100000000000}\\sin k', '1')).toBe(false);
  expect(sameAnswer('x^2-1', '(x-1)(x+1)')).toBe(true);
  expect(sameAnswer('9^{9^{9^9}}', '1')).toBe(false);
  expect(sameAnswer('10^{10^{10}}!', '1')).toBe(false);
});
