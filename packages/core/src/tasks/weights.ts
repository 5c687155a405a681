/** The reward terms that every task has, and their weights. */
import { z } from 'zod';
import type { Terms } from '../types.ts';
import type { Answer } from './task.ts';
import { nonRepeat, thinkingFormat } from './thinking.ts';

const weight = (value: number) => z.number().nonnegative().default(value);

/**
 * Thinking weighs less than the smallest step in accuracy that should teach, so that a right label without a thought
 * beats a wrong rollout with one.
 */
export const termWeights = z
  .strictObject({ thinking: weight(0.5), format: weight(1), accuracy: weight(1), nonRepeat: weight(0) })
  .prefault({});

/** What goes without saying of them. */
export const unsaidWeights = { thinking: 0.5, format: 1, accuracy: 1, nonRepeat: 0 };

/** What comes before the answer: decimal points in an answer end no sentences. */
export function beforeAnswer(text: string): string {
  const start = text.indexOf('<answer>');
  return start < 0 ? text : text.slice(0, start);
}

/** The terms of a response `<think>..</think><answer>..</answer>` whose answer has these marks. */
export function taggedTerms(answer: Answer, marks: { readonly format: number; readonly accuracy: number }): Terms {
  return { thinking: thinkingFormat(answer), ...marks, nonRepeat: nonRepeat(beforeAnswer(answer.text)) };
}
