/**
 * MathVista's own normalisation of an extracted answer, after which strings are compared. Its numbers are Python's:
 * `float()` reads them, `round` is exact and goes to even, `str` writes `5.0`.
 */
import { pythonFloat, pythonRound, pythonText } from '../python.ts';
import { composed, levenshtein } from '../text.ts';

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
  const distances = choices.map((choice) => levenshtein(composed(choice), said));
  return choices[distances.indexOf(distances.reduce((a, b) => Math.min(a, b), Infinity))] ?? '';
}
