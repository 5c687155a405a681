import fc from 'fast-check';
import { expect, test } from 'vitest';
import { phrases } from './testkit.ts';
import { folded, normalised, sameWords } from './text.ts';

const RUNS = { seed: 1, numRuns: 2000 };

test.each([
  ['caf\u00E9', 'cafe\u0301', 'accents as one letter or two'],
  ['\uD55C\uAD6D', '\u1112\u1161\u11AB\u1100\u116E\u11A8', 'Hangul as syllables or in parts'],
  ['\uFF11\uFF12', '12', 'full-width digits'],
  ['\u0661\u0662', '12', 'Arabic digits'],
  ['\u0967\u0968.\u096B', '12.5', 'Devanagari digits'],
  ['\uFF39\uFF25\uFF33', 'yes', 'full-width letters'],
  ['yes\u3002', 'yes', 'an ideographic full stop'],
  ['\u0939\u093E\u0901\u0964', '\u0939\u093E\u0901', 'a danda'],
  ['yes!', 'Yes.', 'final punctuation'],
  ['dark\u00A0red', 'dark red', 'a space that does not break'],
  ['\u3000red ', 'red', 'an ideographic space'],
  ['dark\u2009 \t\nred', 'dark red', 'other spaces'],
  ['it\u2019s', "it's", 'a curly quote'],
  ['\u201Cred\u201D', '"red"', 'curly quotes'],
  ['-5', '\u22125', 'a minus sign'],
  ['1990\u20132000', '1990-2000', 'a dash'],
  ['re\u200Bd', 'red', 'a space without width'],
  ['\uFEFFred', 'red', 'a byte order mark'],
  ['co\u00ADoperate', 'cooperate', 'a soft hyphen'],
  ['\u00DF', 'SS', 'sharp s'],
  ['\u0130stanbul', 'istanbul', 'a dotted capital I'],
  ['\u0130STANBUL', 'ISTANBUL', 'a dotted capital I and a plain one'],
  ['d\u0131\u015F', 'DI\u015E', 'a dotless i'],
  ['\u039F\u0394\u039F\u03A3', '\u03BF\u03B4\u03BF\u03C2', 'a final sigma'],
  ['\uFB01ve', 'five', 'a ligature'],
  ['\u2103', '\u00B0C', 'a sign of two letters'],
  ['50\u066A', '50%', 'an Arabic per cent sign'],
])('%j and %j are the same: %s', (a, b) => {
  expect(sameWords(a, b)).toBe(true);
});

test.each([
  ['caf\u00E9', 'cafe'],
  ['red', 'reddish'],
  ['1.5', '15'],
  ['-5', '5'],
  ['?', '!'],
  ['.', ''],
])('%j and %j differ', (a, b) => {
  expect(sameWords(a, b)).toBe(false);
});

test('no form of Unicode, case, or white space around makes a difference, and what is normal stays so', () => {
  fc.assert(
    fc.property(phrases, (text) => {
      const words = normalised(text);
      for (const form of ['NFC', 'NFD', 'NFKC', 'NFKD'] as const) expect(normalised(text.normalize(form))).toBe(words);
      expect(normalised(text.normalize().toUpperCase())).toBe(words);
      expect(normalised(` \u3000${text}\n`)).toBe(words);
      expect(normalised(words)).toBe(words);
      expect(folded(folded(text))).toBe(folded(text));
    }),
    RUNS,
  );
});
