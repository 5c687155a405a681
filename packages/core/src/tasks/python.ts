/** Numbers and texts as Python reads, rounds and writes them, which published metrics and rewards depend on. */
import { plainCharacters } from './text.ts';

/** A character of what `\\s` matches and `strip()` takes away, to stand in a class. */
export const PYTHON_SPACE = String.raw`\t-\r\x1c-\x20\x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000`;
const AT_START = new RegExp(`^[${PYTHON_SPACE}]+`);
const IS_SPACE = new RegExp(`[${PYTHON_SPACE}]`);

/** `text.strip()`. */
export function pythonStrip(text: string): string {
  let end = text.length;
  while (end > 0 && IS_SPACE.test(text[end - 1]!)) end -= 1;
  return text.slice(0, end).replace(AT_START, '');
}

const JSON_TOKEN = /"(?:[^"\\]|\\.)*"?|NaN|-?Infinity/g;
const MARKED = 'float ';

/** `json.loads`, for which NaN and Infinity are numbers. @throws SyntaxError */
export function pythonJson(text: string): unknown {
  if (!/NaN|Infinity/.test(text)) return JSON.parse(text);
  const marked = text.replace(JSON_TOKEN, (token) => (token.startsWith('"') ? token : `"${MARKED}${token}"`));
  return JSON.parse(marked, (_, value: unknown) =>
    typeof value === 'string' && value.startsWith(MARKED) ? Number(value.slice(MARKED.length)) : value,
  );
}

/** What Python's `float()` reads; undefined where it raises. */
export function pythonFloat(text: string): number | undefined {
  const trimmed = pythonStrip(text).replaceAll(/\p{Nd}/gu, plainCharacters);
  const special = /^([+-]?)(inf|infinity|nan)$/i.exec(trimmed);
  if (special) return special[2]!.toLowerCase() === 'nan' ? NaN : special[1] === '-' ? -Infinity : Infinity;
  if (!/^[+-]?(\d+(_\d+)*(\.(\d+(_\d+)*)?)?|\.\d+(_\d+)*)(e[+-]?\d+(_\d+)*)?$/i.test(trimmed)) return undefined;
  return Number(trimmed.replaceAll('_', ''));
}

/** `round(value, digits)`: of the exact binary value, halves to even. */
export function pythonRound(value: number, digits: number): number {
  // From 2^53 on all numbers are whole, and from 1e21 on toFixed has no decimals to look at.
  if (!Number.isFinite(value) || Math.abs(value) >= 2 ** 53) return value;
  const rounded = Number(value.toFixed(digits));
  // toFixed is exact but takes halves away from zero. A half ends in 5 and zeros, exactly.
  const isHalf = /^50*$/.test(
    Math.abs(value)
      .toFixed(Math.min(100, digits + 60))
      .split('.')[1]!
      .slice(digits),
  );
  if (!isHalf) return value < 0 && rounded === 0 ? -0 : rounded;
  const unit = 10 ** digits;
  const below = Math.floor(Math.abs(value) * unit);
  return (Math.sign(value) * (below % 2 === 0 ? below : below + 1)) / unit;
}

/** `str` of a float. */
export function pythonText(value: number): string {
  if (Number.isNaN(value)) return 'nan';
  if (!Number.isFinite(value)) return value < 0 ? '-inf' : 'inf';
  const sign = Object.is(value, -0) || value < 0 ? '-' : '';
  const size = Math.abs(value);
  if (size >= 1e16 || (size < 1e-4 && size > 0)) {
    const [digits = '', exponent = ''] = size.toExponential().split('e');
    return `${sign}${digits}e${exponent[0]}${exponent.slice(1).padStart(2, '0')}`;
  }
  return sign + (Number.isInteger(size) ? `${size}.0` : String(size));
}
