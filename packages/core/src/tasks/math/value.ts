/**
 * When two answers are the same: as numbers (6/5, \frac{6}{5}, 1.20 and 120% are one), else as texts. Expressions with
 * variables are compared as texts only: there is no computer algebra here.
 */

/** Relative error up to which numbers are equal: that of writing them down in decimals. */
const TOLERANCE = 1e-9;

const COMMANDS = /\\(?:left|right|,|!|;|:|displaystyle|quad)|\\\s/g;

/** Without LaTeX that changes nothing about the value, in lower case and without white space. */
export function plain(latex: string): string {
  return latex
    .replace(COMMANDS, '')
    .replace(/\\(?:text|mathrm|textbf|mathbf)\s*\{([^{}]*)\}/g, '$1')
    .replace(/\\[dt]?frac\s*\{([^{}]*)\}\s*\{([^{}]*)\}/g, '($1)/($2)')
    .replace(/\\([%$])/g, '$1')
    .replace(/[$\s]/g, '')
    .replace(/\.$/, '')
    .toLowerCase();
}

/** A decimal number, with separators between thousands or without, a quotient of two, or a percentage of one. */
export function valueOf(latex: string): number | undefined {
  const text = plain(latex).replace(/°$/, '');
  if (text.endsWith('%')) {
    const share = quotient(text.slice(0, -1));
    return share === undefined ? undefined : share / 100;
  }
  return quotient(text);
}

function quotient(text: string): number | undefined {
  const [sign, rest] = text.startsWith('-(') ? [-1, text.slice(1)] : [1, text];
  const parts = rest.split('/').map((part) => decimal(part.replace(/^\((.*)\)$/, '$1')));
  if (parts.length > 2 || parts.includes(undefined)) return undefined;
  const [above = NaN, below = 1] = parts as number[];
  return below === 0 ? undefined : (sign * above) / below;
}

function decimal(text: string): number | undefined {
  const digits = /^[+-]?\d{1,3}(,\d{3})+(\.\d+)?$/.test(text) ? text.replaceAll(',', '') : text;
  return /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/.test(digits) ? Number(digits) : undefined;
}

export function sameValue(a: string, b: string): boolean {
  const [x, y] = [valueOf(a), valueOf(b)];
  if (x === undefined || y === undefined) return plain(a) === plain(b);
  return Math.abs(x - y) <= TOLERANCE * Math.max(Math.abs(x), Math.abs(y));
}

/**
 * The choice that an answer names: by its letter in any case, with brackets or without, or by its text. Undefined where
 * it names none: unlike in the published code, nothing is read off other first letters.
 */
export function chosen(answer: string, choices: readonly string[]): number | undefined {
  const letter = /^\(?([a-z])\)?$/.exec(plain(answer))?.[1];
  const byText = choices.findIndex((choice) => sameValue(choice, answer));
  if (byText >= 0) return byText;
  const index = letter === undefined ? -1 : letter.charCodeAt(0) - 'a'.charCodeAt(0);
  return index >= 0 && index < choices.length ? index : undefined;
}
