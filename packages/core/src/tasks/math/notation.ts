/**
 * Notation that means nothing to the value of a formula: characters beside LaTeX's own become LaTeX, marks of layout go.
 * All in time linear in the text.
 */
import { plainCharacters } from '../text.ts';

const SUPERSCRIPTS = '\u2070\u00B9\u00B2\u00B3\u2074\u2075\u2076\u2077\u2078\u2079';
const SUBSCRIPTS = '\u2080\u2081\u2082\u2083\u2084\u2085\u2086\u2087\u2088\u2089';
const digitsFrom = (alphabet: string, text: string): string =>
  text.replace(/./g, (digit) => (alphabet.includes(digit) ? String(alphabet.indexOf(digit)) : '-'));

/** What compatibility forms would lose: x\u00B2 is not x2, 1\u00BD not 11/2. */
const keepingMeaning = (text: string): string =>
  text
    .replace(/\u207B?[\u2070\u00B9\u00B2\u00B3\u2074-\u2079]+/g, (digits) => `^{${digitsFrom(SUPERSCRIPTS, digits)}}`)
    .replace(/[\u2080-\u2089]+/g, (digits) => `_{${digitsFrom(SUBSCRIPTS, digits)}}`)
    .replace(/[\u00BC-\u00BE\u2150-\u215E]/g, (fraction) => {
      const [above = '', below = ''] = fraction.normalize('NFKC').split('\u2044');
      return `\\frac{${above}}{${below}}`;
    })
    .replaceAll('\u00BA', '\u00B0')
    .replaceAll('\u211D', '\\mathbb{R}');

const SYMBOLS: Readonly<Record<string, string>> = {
  '\u00B0': '^\\circ ',
  '\u00D7': '\\times ',
  '\u00B7': '\\cdot ',
  '\u22C5': '\\cdot ',
  '\u00F7': '\\div ',
  '\u221A': '\\sqrt ',
  '\u03C0': '\\pi ',
  '\u221E': '\\infty ',
  '\u2264': '\\le ',
  '\u2265': '\\ge ',
  '\u2A7D': '\\le ',
  '\u2A7E': '\\ge ',
  '\u2260': '\\ne ',
  '\u2248': '\\approx ',
  '\u00B1': '\\pm ',
  '\u222A': '\\cup ',
  '\u2229': '\\cap ',
  '\u2205': '\\emptyset ',
  '\u2208': '\\in ',
  '\u2236': ':',
};
const SYMBOL = new RegExp(`[${Object.keys(SYMBOLS).join('')}]`, 'gu');

/** LaTeX in ASCII as far as possible, case kept. */
export const latexCharacters = (text: string): string =>
  plainCharacters(keepingMeaning(text)).replace(SYMBOL, (symbol) => SYMBOLS[symbol]!);

/** Layout: sizes of brackets, spaces, styles. */
const LAYOUT =
  'left right big Big bigg Bigg bigl bigr Bigl Bigr biggl biggr displaystyle textstyle scriptstyle limits quad qquad ' +
  'boxed fbox boldsymbol mathbf mathit mathcal bm bf rm it';
const MEANINGLESS = new RegExp(
  `(?<!\\\\)\\\\(?:(?:left|right)\\.|(?:${LAYOUT.replaceAll(' ', '|')})(?![a-zA-Z])|[,!;:> $()[\\]])|[~$\\u20AC\\u00A3\\u00A5]`,
  'g',
);

/** A comma or a space of LaTeX between groups of three digits. */
const SEPARATORS = /(?<=\d)(?:\{,\}|\\!?,|\\ )(?=\d{3}(?!\d))/g;

/** The formula itself, with a space for every mark of layout. */
export function withoutLayout(latex: string): string {
  const text = latexCharacters(latex);
  // Commands whose backslash was escaped once too often; in a matrix two of them end a row.
  const unescaped = text.includes('\\begin') ? text : text.replace(/\\\\(?=[a-zA-Z])/g, '\\');
  return unescaped.replace(SEPARATORS, '').replace(MEANINGLESS, ' ');
}
