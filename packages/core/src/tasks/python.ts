/** Numbers as Python reads, rounds and writes them, which published metrics depend on. */
import { plainCharacters } from './text.ts';

/** What Python's `float()` reads; undefined where it raises. */
export function pythonFloat(text: string): number | undefined {
  const trimmed = plainCharacters(text).trim();
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
