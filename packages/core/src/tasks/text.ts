/** Answers that are a few words: their surface forms, and how strings compare. */
import type { SurfaceForm } from './task.ts';
import { answerBlock } from './thinking.ts';

const AROUND = {
  bare: (text: string) => text,
  spaced: (text: string) => ` ${text}`,
  lines: (text: string) => `\n${text}\n`,
} as const;
type Around = keyof typeof AROUND;

/** Surface forms of an answer whose words are given: what stands around them. */
export const aroundForms = (Object.keys(AROUND) as Around[]).map((name) => ({ name, wrap: AROUND[name] }));

/** What stands around the words of an answer block. */
export function aroundOf(block: string): Around {
  if (block.startsWith('\n')) return 'lines';
  return block.startsWith(' ') ? 'spaced' : 'bare';
}

/** Forms that write the same text, differently surrounded, into the answer block. */
export const textForms = <Truth>(write: (truth: Truth) => string): SurfaceForm<Truth>[] =>
  aroundForms.map(({ name, wrap }) => ({ name, write: (truth) => `<answer>${wrap(write(truth))}</answer>` }));

/** Words that are compared: trimmed, lower case, single spaces, no full stop at the end. */
export const normalised = (text: string): string => text.trim().toLowerCase().replace(/\s+/g, ' ').replace(/\.$/, '');

/** The words of an answer block; undefined where there are none. */
export function answerText(text: string): string | undefined {
  const words = answerBlock(text)?.trim();
  return words === '' ? undefined : words;
}

/** Insertions, deletions and substitutions that turn one text into the other. */
export function levenshtein(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const substituted = row[j - 1]! + Number(a[i - 1] !== b[j - 1]);
      next.push(Math.min(row[j]! + 1, next[j - 1]! + 1, substituted));
    }
    row = next;
  }
  return row[b.length]!;
}
