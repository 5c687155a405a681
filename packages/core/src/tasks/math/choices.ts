/** Questions with choices, of which an answer names one. */
import { normalised, sameWords } from '../text.ts';
import { sameAnswer } from './algebra.ts';
import { sameValue, wordsOf } from './value.ts';

const FIRST = 'a'.charCodeAt(0);
const LETTERS = 26;

/** What names a choice in an answer: its letter, or its text where letters do not reach. */
export const nameOf = (index: number, choices: readonly string[]): string =>
  index < LETTERS ? String.fromCharCode(FIRST + index).toUpperCase() : choices[index]!;

/** The only one that fits, of choices that say the same the first. */
function onlyOne(choices: readonly string[], fits: (choice: string) => boolean): number | undefined {
  const fitting = choices.filter(fits);
  const [first] = fitting;
  if (first === undefined || fitting.some((choice) => !sameWords(choice, first))) return undefined;
  return choices.indexOf(first);
}

/**
 * The choice that an answer names: by its text, its letter in any case, with brackets or without, or its value, if that is
 * the value of no other. Undefined where it names none: unlike in the published code, nothing is read off other first
 * letters.
 */
export function chosen(answer: string, choices: readonly string[]): number | undefined {
  const said = normalised(answer);
  const byText = choices.findIndex((choice) => normalised(choice) === said);
  if (byText >= 0) return byText;
  const byValue = onlyOne(choices, (choice) => sameValue(choice, answer));
  if (byValue !== undefined) return byValue;
  const letter = /^([a-z])$/.exec(wordsOf(answer))?.[1];
  if (letter === undefined) return onlyOne(choices, (choice) => sameAnswer(answer, choice));
  const index = letter.charCodeAt(0) - FIRST;
  return index < choices.length ? index : undefined;
}
