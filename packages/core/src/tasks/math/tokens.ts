/** LaTeX, cut into words. */

export interface Token {
  readonly kind: 'number' | 'text' | 'command' | 'letters' | 'mark' | 'end';
  readonly text: string;
  /** White space stands before it. */
  readonly spaced: boolean;
}

export const END: Token = { kind: 'end', text: '', spaced: false };

const KINDS = ['number', 'text', 'command', 'letters', 'mark'] as const;
const NUMBER = /(?<number>\d{1,3}(?:,\d{3})+(?!\d)(?:\.\d+)?|\d+(?:\.\d+)?|\.\d+)/;
/** Inside brackets a comma separates, it never groups digits. */
const PLAIN_NUMBER = /(?<number>\d+(?:\.\d+)?|\.\d+)/;
const TEXT = /\\(?:text|textbf|textit|textrm|textnormal|mathrm|mathsf|mbox|operatorname)\s*\{(?<text>[^{}]*)\}/;
const OTHERS = /\\(?<command>[a-zA-Z]+)|(?<letters>\p{L}+)|(?<mark>\\.|\S)/u;

const tokenPattern = (number: RegExp): RegExp =>
  new RegExp(`(?<space>\\s*)(?:${number.source}|${TEXT.source}|${OTHERS.source})`, 'suy');
const OUTSIDE = tokenPattern(NUMBER);
const INSIDE = tokenPattern(PLAIN_NUMBER);

export function tokensOf(text: string): Token[] {
  const tokens: Token[] = [];
  let brackets = 0;
  for (let at = 0; ;) {
    const pattern = brackets > 0 ? INSIDE : OUTSIDE;
    pattern.lastIndex = at;
    const groups = pattern.exec(text)?.groups;
    if (groups === undefined) return tokens;
    at = pattern.lastIndex;
    const kind = KINDS.find((each) => groups[each] !== undefined)!;
    const word = groups[kind]!;
    if (word === '(' || word === '[' || word === '\\{') brackets += 1;
    if (word === ')' || word === ']' || word === '\\}') brackets -= 1;
    tokens.push({ kind, text: kind === 'number' ? word.replaceAll(',', '') : word, spaced: groups.space !== '' });
  }
}
