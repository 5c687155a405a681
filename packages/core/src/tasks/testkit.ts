/** Texts for the tests of what reads answers. */
import fc from 'fast-check';

const range = (from: number, to: number) =>
  fc.integer({ min: from, max: to }).map((code) => String.fromCodePoint(code));
const word = (character: fc.Arbitrary<string>) =>
  fc.array(character, { minLength: 1, maxLength: 8 }).map((all) => all.join(''));

const latin = fc.oneof(range(0x61, 0x7a), range(0x41, 0x5a), range(0xc0, 0xff), range(0x100, 0x17f));
const marked = fc
  .tuple(latin, fc.array(range(0x300, 0x345), { maxLength: 3 }))
  .map(([base, marks]) => base + marks.join(''));

/** Words of many scripts: marks out of order, syllables in parts, digits, emoji with joiners, compatibility forms. */
export const SCRIPTS: Readonly<Record<string, fc.Arbitrary<string>>> = {
  latin: word(marked),
  cyrillic: word(fc.oneof(range(0x410, 0x44f), range(0x450, 0x45f))),
  greek: word(fc.oneof(range(0x391, 0x3a1), range(0x3a3, 0x3ce), range(0x1f80, 0x1faf))),
  arabic: word(fc.oneof(range(0x621, 0x64a), range(0x64b, 0x652), range(0x660, 0x669))),
  devanagari: word(fc.oneof(range(0x905, 0x939), range(0x93e, 0x94d), range(0x958, 0x95f), range(0x966, 0x96f))),
  thai: word(fc.oneof(range(0xe01, 0xe2e), range(0xe34, 0xe39), range(0xe50, 0xe59))),
  chinese: word(fc.oneof(range(0x4e00, 0x9fa5), range(0xf900, 0xfa2d))),
  japanese: word(fc.oneof(range(0x3041, 0x3096), range(0x30a1, 0x30fa), range(0xff66, 0xff9d))),
  korean: word(fc.oneof(range(0xac00, 0xd7a3), range(0x1100, 0x1112), range(0x1161, 0x1175))),
  emoji: word(
    fc.constantFrom(
      '\u{1F468}\u200D\u{1F469}\u200D\u{1F467}',
      '\u2764\uFE0F',
      '\u{1F44D}\u{1F3FD}',
      '\u{1F1E9}\u{1F1EA}',
      '\u{1F3F4}\u{E0067}\u{E0062}\u{E0073}\u{E0063}\u{E0074}\u{E007F}',
    ),
  ),
  numbers: fc.oneof(
    fc.integer().map(String),
    fc.double({ noNaN: true, noDefaultInfinity: true }).map(String),
    word(fc.oneof(range(0xff10, 0xff19), range(0x1d7ce, 0x1d7ff))),
    fc.constantFrom('1,000', '50%', '$5', '\u00BD', '3\u00BA', 'x\u00B2', '\u20AC7.50'),
  ),
  punctuation: word(
    fc.constantFrom(
      ...Array.from('.,;:!?-\'"()/%&@#*+=<>|~^_`$\u3002\u2019\u201C\u2014\u2212\u00A0\u3000\u200B\u00AD\u2033\u00B4'),
    ),
  ),
};

/** Some words of one script, or of several. */
export const phrases: fc.Arbitrary<string> = fc
  .oneof(
    ...Object.values(SCRIPTS).map((script) => fc.array(script, { minLength: 1, maxLength: 3 })),
    fc.array(fc.oneof(...Object.values(SCRIPTS)), { minLength: 1, maxLength: 4 }),
  )
  .map((words) => words.join(' '));
