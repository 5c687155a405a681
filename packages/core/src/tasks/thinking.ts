/** The pattern `<think>..</think><answer>..</answer>`, and what a task reads out of it. */
import type { Answer } from './task.ts';

const TAGS = /(<\/?(?:think|answer)>)/;

/** The text of the first answer block; undefined where there is none or it is not closed. */
export function answerBlock(text: string): string | undefined {
  const start = text.indexOf('<answer>');
  if (start < 0) return undefined;
  const end = text.indexOf('</answer>', start);
  return end < 0 ? undefined : text.slice(start + '<answer>'.length, end);
}

/**
 * 1 if the whole response is one thought that is not blank and then one answer, and ended by itself, else 0.
 * Each tag occurs once; around and between the two there is only white space.
 */
export function thinkingFormat({ text, stop }: Answer): 0 | 1 {
  const [before, open, thought, close, between, start, , end, after, ...rest] = text.split(TAGS);
  const inOrder = open === '<think>' && close === '</think>' && start === '<answer>' && end === '</answer>';
  const blank = [before, between, after].every((part) => part?.trim() === '');
  return stop === 'eos' && inOrder && rest.length === 0 && blank && thought?.trim() !== '' ? 1 : 0;
}

/** An answer with the reasoning that leads to it, in the pattern's form; the answer alone where there is none. */
export function withThinking(thinking: string | undefined, answer: string): string {
  return thinking === undefined ? answer : `<think>${thinking}</think>${answer}`;
}

/** Whether a text holds tags of the pattern, and so cannot stand inside it. */
export const hasTags = (text: string): boolean => TAGS.test(text);

/** What is wrong with a label's reasoning, if anything. */
export function thinkingFault(thinking: unknown): string | undefined {
  if (typeof thinking !== 'string' || thinking.trim() === '') return 'thinking must be a text that is not empty';
  return hasTags(thinking) ? 'thinking is the text between the tags, without <think> or <answer>' : undefined;
}

/** 0 once two sentences (split at full stops) repeat earlier ones, else 1. */
export function nonRepeat(text: string): 0 | 1 {
  const seen = new Set<string>();
  let repeats = 0;
  for (const sentence of text.split('.').map((part) => part.trim())) {
    if (sentence === '') continue;
    if (seen.has(sentence)) repeats += 1;
    seen.add(sentence);
  }
  return repeats >= 2 ? 0 : 1;
}
