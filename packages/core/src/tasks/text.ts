/**
 * Answers that are a few words: their surface forms, and when two texts are the same.
 *
 * Equal text is equal, however it was typed: the forms of Unicode (NFC, NFD, NFKC, NFKD), full-width letters and digits,
 * digits of any script, kinds of spaces, quotes and dashes, characters without width, case and final punctuation make no
 * difference. Accents do.
 */
import type { SurfaceForm } from './task.ts';
import { answerBlock } from './thinking.ts';

const AROUND = {
  bare: (text: string) => text,
  spaced: (text: string) => ` ${text}`,
  lines: (text: string) => `\n${text}\n`,
} as const;
type Around = keyof typeof AROUND;

/** Surface forms of an answer whose words are given: what stands around them. */
export const aroundForms = (Object.keys(AROUND) as Around[]).map((name) => ({ name, wrap: AROUND[name] }));

/** What stands around the words of an answer block. */
export function aroundOf(block: string): Around {
  if (block.startsWith('\n')) return 'lines';
  return block.startsWith(' ') ? 'spaced' : 'bare';
}

/** Forms that write the same text, differently surrounded, into the answer block. */
export const textForms = <Truth>(write: (truth: Truth) => string): SurfaceForm<Truth>[] =>
  aroundForms.map(({ name, wrap }) => ({ name, write: (truth) => `<answer>${wrap(write(truth))}</answer>` }));

/** Characters without width, but not the tags that tell flags apart. */
const INVISIBLE = /[\p{Default_Ignorable_Code_Point}--[\u{E0020}-\u{E007F}]]/gv;
/** An acute accent of its own is a space with an accent in compatibility form. */
const SINGLE_QUOTES = /[\u2018-\u201B\u2032\u2035\u2039\u203A`\u02B9\u02BB-\u02BD\u055A\u05F3]| \u0301/g;
const DOUBLE_QUOTES = /[\u201C-\u201F\u00AB\u00BB\u300C-\u300F\u301D-\u301F\u05F4]/g;
const DASHES = /[\p{Dash_Punctuation}\u2212\u2043\u02D7]/gu;
const FULL_STOPS = /[\u3002\u0964\u0965\u06D4]/g;
/** Punctuation of Arabic and typography that has a twin in ASCII. */
const TWINS: Readonly<Record<string, string>> = {
  '\u060C': ',',
  '\u061B': ';',
  '\u061F': '?',
  '\u066A': '%',
  '\u066B': '.',
  '\u066C': ',',
  '\u2044': '/',
  '\u3001': ',',
};
const TWINNED = new RegExp(`[${Object.keys(TWINS).join('')}]`, 'g');

const DIGIT = /\p{Nd}/u;

/** The digits of a script are ten code points in a row, some rows adjoin. */
function asciiDigit(digit: string): string {
  const code = digit.codePointAt(0)!;
  let start = code;
  while (DIGIT.test(String.fromCodePoint(start - 1))) start -= 1;
  return String((code - start) % 10);
}

/** Marks on one letter; sorting thousands of them, as normal forms do, takes quadratic time. */
const EXCESS_MARKS = /(\p{M}{30})\p{M}+/gu;
const bounded = (text: string): string => text.toWellFormed().replace(EXCESS_MARKS, '$1');

/** The same text in the form that tokenizers give it, NFC. */
export const composed = (text: string): string => bounded(text).normalize();

/** The same text in the plainest characters, case and white space at the ends kept. */
export function plainCharacters(text: string): string {
  if (/^[\x20-\x5f\x61-\x7e]*$/.test(text)) return text;
  return bounded(text)
    .normalize('NFKC')
    .replace(INVISIBLE, '')
    .normalize('NFKC')
    .replace(SINGLE_QUOTES, "'")
    .replace(DOUBLE_QUOTES, '"')
    .replace(DASHES, '-')
    .replace(FULL_STOPS, '.')
    .replace(TWINNED, (character) => TWINS[character]!)
    .replace(/\s/g, ' ')
    .replace(/(?![0-9])\p{Nd}/gu, asciiDigit);
}

/**
 * Plain characters without case, by Unicode's full folding: ß and SS are one, the sigmas are, and so are i, I and the two
 * Turkish letters \u0130 and \u0131, because no one knows which language an answer is in.
 */
export const folded = (text: string): string =>
  plainCharacters(text)
    .toUpperCase()
    .toLowerCase()
    .replaceAll('\u03C2', '\u03C3')
    .replaceAll('i\u0307', 'i')
    .normalize('NFKC');

/** Words that are compared: folded, trimmed, single spaces, no punctuation at the end, where something else is left. */
export function normalised(text: string): string {
  const words = folded(text).replace(/ +/g, ' ').trim();
  let end = words.length;
  while (end > 0 && '.,;:!? '.includes(words[end - 1]!)) end -= 1;
  return end === 0 ? words : words.slice(0, end);
}

/** Whether two texts are the same words. */
export const sameWords = (a: string, b: string): boolean => normalised(a) === normalised(b);

/** The words of an answer block; undefined where there are none. */
export function answerText(text: string): string | undefined {
  const words = answerBlock(text)?.trim();
  return words === '' ? undefined : words;
}

/** Insertions, deletions and substitutions of characters that turn one text into the other. */
export function levenshtein(a: string, b: string): number {
  const [from, to] = [Array.from(a), Array.from(b)];
  let row = Array.from({ length: to.length + 1 }, (_, j) => j);
  from.forEach((character, i) => {
    const next = [i + 1];
    for (let j = 1; j <= to.length; j++) {
      const substituted = row[j - 1]! + Number(character !== to[j - 1]);
      next.push(Math.min(row[j]! + 1, next[j - 1]! + 1, substituted));
    }
    row = next;
  });
  return row[to.length]!;
}
