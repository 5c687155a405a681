import { expect, test } from 'vitest';
import { UserError } from './errors.ts';
import { limited } from './patterns.ts';

const of = { expressions: ['(a+)+$'], where: 'some.json', characters: 40 };

test('what ends gives what it gives, and throws what it throws', () => {
  expect(limited<number | undefined>(() => undefined, of)).toBeUndefined();
  expect([1, 2].map((each) => limited(() => [each], of))).toEqual([[1], [2]]);
  const error = new TypeError('no');
  expect(() => limited(() => { throw error; }, of)).toThrow(error); // prettier-ignore
});

test('an expression without end is ended: the message names it and its file; what comes after runs', () => {
  const endless = (): boolean => /(a+)+$/u.test(`${'a'.repeat(60)}!`);
  expect(() => limited(endless, of)).toThrow(UserError);
  expect(() => limited(endless, of)).toThrow(/^some\.json: the regular expression "\(a\+\)\+\$" takes more than 1.0 s/);
  expect(limited(() => 3, of)).toBe(3);
});
