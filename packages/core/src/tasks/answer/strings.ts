/** How an answer of a few words is compared with the true one. */
import { levenshtein, normalised } from '../text.ts';

/** 1 if the normalised texts are equal, else 0. */
export const exactMatch = (said: string, truth: string): number => Number(normalised(said) === normalised(truth));

/** A number, or a percentage as a share; undefined where the text is neither. */
function numberOf(text: string): number | undefined {
  const isPercentage = text.endsWith('%');
  const digits = isPercentage ? text.replace(/%+$/, '') : text;
  if (digits.trim() === '') return undefined;
  const value = Number(digits);
  return Number.isNaN(value) ? undefined : isPercentage ? value / 100 : value;
}

/**
 * ChartQA's relaxed accuracy: |said - truth| / |truth| <= 0.05 where both are numbers and the true one is not 0, else
 * equality without regard to case.
 */
export function relaxedMatch(said: string, truth: string): number {
  const [x, y] = [numberOf(said), numberOf(truth)];
  if (x !== undefined && y !== undefined && y !== 0) return Number(Math.abs(x - y) / Math.abs(y) <= 0.05);
  return Number(said.toLowerCase() === truth.toLowerCase());
}

/** DocVQA's ANLS of one reference: 1 - edit distance / length of the longer raw text, 0 if that is below 0.5. */
export function anls(said: string, truth: string): number {
  const clean = (text: string): string => text.trim().toLowerCase().split(/\s+/).filter(Boolean).join(' ');
  const length = Math.max(said.length, truth.length);
  const similarity = length === 0 ? 1 : 1 - levenshtein(clean(said), clean(truth)) / length;
  return similarity < 0.5 ? 0 : similarity;
}
