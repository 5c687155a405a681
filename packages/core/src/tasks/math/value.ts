/** When two answers are the same: as texts, else as formulas. */
import { folded, normalised, sameWords } from '../text.ts';
import { sameExpression, type Judge } from './compare.ts';
import { parseLatex } from './latex.ts';
import { withoutLayout } from './notation.ts';

/**
 * An answer as words: without layout, the brackets around it, case, final punctuation, and white space, but for that which
 * keeps digits apart.
 */
export function wordsOf(latex: string): string {
  const words = withoutLayout(latex)
    .replace(/\\(?:text|textbf|textit|textrm|textnormal|mathrm|mathsf|mbox)\s*\{([^{}]*)\}/g, '$1')
    .replace(/\\([%#&_])/g, '$1')
    .replace(/\s+/g, ' ')
    .replace(/(?<!\d) | (?!\d)/g, '');
  const inner = /^\(([^()]*)\)$|^\{([^{}]*)\}$/.exec(words);
  const plain = inner?.[1] ?? inner?.[2] ?? words;
  // A factorial is no exclamation.
  return /\d!$/.test(plain) ? folded(plain) : normalised(plain);
}

const never: Judge = () => false;

/**
 * Whether two answers are the same by their text, their exact value or their form; time is linear in the text.
 * @param judge decides about expressions that differ in form, if anything does
 */
export function sameValue(a: string, b: string, judge: Judge = never): boolean {
  const words = wordsOf(a);
  if (words === wordsOf(b) && (words !== '' || sameWords(a, b))) return true;
  const [x, y] = [parseLatex(a), parseLatex(b)];
  return x !== undefined && y !== undefined && sameExpression(x, y, judge);
}
