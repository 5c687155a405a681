/** Short answers, by the rules of their benchmarks as lmms-eval has them, to the letter. */
import { pythonFloat } from '../tasks/python.ts';
import { levenshtein } from '../tasks/text.ts';

function numberOf(text: string): number | undefined {
  const isShare = text.endsWith('%');
  const value = pythonFloat(isShare ? text.replace(/%+$/, '') : text);
  return value === undefined || !isShare ? value : value / 100;
}

/**
 * ChartQA's relaxed accuracy: |said - truth| / |truth| <= 0.05 where both are numbers and the true one is not 0, else
 * equality without regard to case.
 */
export function relaxedAccuracy(said: string, truth: string): boolean {
  const [x, y] = [numberOf(said), numberOf(truth)];
  if (x !== undefined && y) return Math.abs(x - y) / Math.abs(y) <= 0.05;
  return said.toLowerCase() === truth.toLowerCase();
}

const cleaned = (text: string): string => text.trim().toLowerCase().split(/\s+/).join(' ');
const lengthOf = (text: string): number => Array.from(text).length;

/** DocVQA's ANLS: 1 - the least edit distance to a reference / length of the longer raw text, 0 below 0.5. */
export function documentAnls(said: string, references: readonly string[]): number {
  const distances = references.map((reference) => {
    const length = Math.max(lengthOf(said), lengthOf(reference));
    return length === 0 ? 0 : levenshtein(cleaned(said), cleaned(reference)) / length;
  });
  const similarity = 1 - distances.reduce((a, b) => Math.min(a, b), Infinity);
  return similarity < 0.5 ? 0 : similarity;
}

/** POPE's reading: of the first sentence, without commas, "no" where a word is No, no or not; anything else is yes. */
export const popeVerdict = (text: string): 'yes' | 'no' =>
  text
    .split('.')[0]!
    .replaceAll(',', '')
    .split(' ')
    .some((word) => ['No', 'no', 'not'].includes(word))
    ? 'no'
    : 'yes';
