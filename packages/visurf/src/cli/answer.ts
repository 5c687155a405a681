/** Answers: how they are sampled, and how they appear while they grow. */

import type { Command } from 'commander';
import type { AnswerOptions, Policy, PromptInput } from '@visurf/core';
import { number, wholeNumber } from './options.ts';

export interface SamplingOptions {
  readonly maxNewTokens: number;
  readonly temperature: number;
  readonly topP: number;
  readonly topK: number;
  readonly repetitionPenalty: number;
  readonly seed: number;
}

/** @param longest default of the longest answer; unset: whoever runs the command decides */
export function withSampling(command: Command, longest?: number): Command {
  const temperature = number('a number, at least 0', (value) => value >= 0);
  const topP = number('a number above 0, at most 1', (value) => value > 0 && value <= 1);
  const penalty = number('a number above 0', (value) => value > 0);
  return command
    .option('--max-new-tokens <n>', 'the longest answer', wholeNumber(1), longest)
    .option('--temperature <t>', '0 takes the likeliest token', temperature, 0)
    .option('--top-p <p>', 'the smallest set of tokens with this probability; 1: all', topP, 1)
    .option('--top-k <k>', 'the k likeliest tokens; 0: all', wholeNumber(0), 0)
    .option('--repetition-penalty <r>', 'above 1: repetition is less likely', penalty, 1)
    .option('--seed <s>', 'of the sampling noise', wholeNumber(0), 0);
}

/** What `withSampling` read, for the library. */
export function samplingOf(options: SamplingOptions): SamplingOptions {
  const { maxNewTokens, temperature, topP, topK, repetitionPenalty, seed } = options;
  return { maxNewTokens, temperature, topP, topK, repetitionPenalty, seed };
}

/**
 * Answers on standard output, character by character, and says on standard error why an answer is not whole.
 * @returns what was said, also where the signal cut it short
 */
export async function streamAnswer(policy: Policy, input: PromptInput, options: AnswerOptions): Promise<string> {
  const { generate } = await import('@visurf/core');
  const { maxNewTokens, signal } = options;
  let text = '';
  const onText = (piece: string) => {
    text += piece;
    process.stdout.write(piece);
  };
  try {
    const { stop } = await generate(policy, input, options, onText);
    process.stdout.write('\n');
    if (stop === 'length') console.error(`(cut off after ${maxNewTokens} tokens: --max-new-tokens allows more)`);
  } catch (error) {
    if (text !== '') process.stdout.write('\n');
    if (!signal?.aborted || error !== signal.reason) throw error;
    console.error('(stopped)');
  }
  return text;
}
