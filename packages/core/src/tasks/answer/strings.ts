/**
 * How an answer of a few words is compared with the true one. Texts that are the same words (text.ts) are equal by every
 * rule; the published rules decide about the others, on texts without the differences that Unicode makes.
 */
import { pythonFloat } from '../python.ts';
import { folded, levenshtein, sameWords } from '../text.ts';

/** 1 if the texts are the same words, else 0. */
export const exactMatch = (said: string, truth: string): number => Number(sameWords(said, truth));

/** A number, or a percentage as a share; undefined where the text is neither. */
function numberOf(text: string): number | undefined {
  let end = text.length;
  while (text[end - 1] === '%') end -= 1;
  const value = pythonFloat(text.slice(0, end));
  return value === undefined || end === text.length ? value : value / 100;
}

/**
 * ChartQA's relaxed accuracy: |said - truth| / |truth| <= 0.05 where both are numbers and the true one is not 0, else
 * equality without regard to case. As published, 1,000 and $5 are texts.
 */
export function relaxedMatch(said: string, truth: string): number {
  if (sameWords(said, truth)) return 1;
  const [x, y] = [numberOf(folded(said)), numberOf(folded(truth))];
  return x !== undefined && y ? Number(Math.abs(x - y) / Math.abs(y) <= 0.05) : 0;
}

const lengthOf = (text: string): number => Array.from(text).length;

/** DocVQA's ANLS of one reference: 1 - edit distance / length of the longer raw text, 0 if that is below 0.5. */
export function anls(said: string, truth: string): number {
  if (sameWords(said, truth)) return 1;
  const clean = (text: string): string => text.replace(/ +/g, ' ').trim();
  const [raw, other] = [folded(said), folded(truth)];
  const [a, b, length] = [clean(raw), clean(other), Math.max(lengthOf(raw), lengthOf(other))];
  // A text is at least as far away as it is longer.
  if (Math.abs(lengthOf(a) - lengthOf(b)) > length / 2) return 0;
  const similarity = 1 - levenshtein(a, b) / length;
  return similarity < 0.5 ? 0 : similarity;
}
