/**
 * MathVista's own normalisation of an extracted answer, after which strings are compared. Its numbers are Python's:
 * `float()` reads them, `round` is exact and goes to even, `str` writes `5.0`.
 */
import { levenshtein } from '../text.ts';

export interface MathVistaQuestion {
  readonly questionType: 'multi_choice' | 'free_form';
  readonly answerType: 'text' | 'integer' | 'float' | 'list';
  /** Decimals of a float. */
  readonly precision: number;
  readonly choices: readonly string[];
}

/** The normalised answer; null is wrong. */
export function normaliseMathVista(extraction: string, question: MathVistaQuestion): string | null {
  if (question.questionType === 'multi_choice') return nearestChoice(extraction, question.choices);
  switch (question.answerType) {
    case 'integer': {
      const value = pythonFloat(extraction);
      return value === undefined || !Number.isFinite(value) ? null : BigInt(Math.trunc(value)).toString();
    }
    case 'float': {
      const value = pythonFloat(extraction);
      return value === undefined ? null : pythonText(pythonRound(value, question.precision));
    }
    case 'text':
    case 'list':
      return extraction;
  }
}

/** A capital letter in brackets, or alone, names its choice; else the choice with the least edit distance, the first of equals. */
function nearestChoice(extraction: string, choices: readonly string[]): string {
  const trimmed = extraction.trim();
  const said = /\(([a-zA-Z])\)/.exec(trimmed)?.[1]?.toUpperCase() ?? trimmed;
  const named = /^[A-Z]$/.test(said) ? choices[said.charCodeAt(0) - 'A'.charCodeAt(0)] : undefined;
  if (named !== undefined) return named;
  const distances = choices.map((choice) => levenshtein(choice, said));
  return choices[distances.indexOf(Math.min(...distances))] ?? '';
}

/** What Python's `float()` reads; undefined where it raises. */
export function pythonFloat(text: string): number | undefined {
  const trimmed = text.trim();
  const special = /^([+-]?)(inf|infinity|nan)$/i.exec(trimmed);
  if (special) return special[2]!.toLowerCase() === 'nan' ? NaN : special[1] === '-' ? -Infinity : Infinity;
  if (!/^[+-]?(\d+(_\d+)*\.?(\d+(_\d+)*)?|\.\d+(_\d+)*)(e[+-]?\d+(_\d+)*)?$/i.test(trimmed)) return undefined;
  return Number(trimmed.replaceAll('_', ''));
}

/** `round(value, digits)`: of the exact binary value, halves to even. */
export function pythonRound(value: number, digits: number): number {
  if (!Number.isFinite(value)) return value;
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
