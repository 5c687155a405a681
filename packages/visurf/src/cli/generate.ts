import type { Command } from 'commander';
import { example, number, promptInput, wholeNumber, withCompute, withJson, withPrompt } from './options.ts';
import type { ComputeOptions, JsonOption, PromptOptions } from './options.ts';
import { downloads, printJson } from './output.ts';

interface GenerateOptions extends PromptOptions, ComputeOptions, JsonOption {
  readonly maxNewTokens: number;
  readonly temperature: number;
  readonly topP: number;
  readonly topK: number;
  readonly repetitionPenalty: number;
  readonly seed: number;
}

export function defineGenerate(program: Command): void {
  const command = program.command('generate').description('answer a question about images');
  const temperature = number('a number, at least 0', (value) => value >= 0);
  const topP = number('a number above 0, at most 1', (value) => value > 0 && value <= 1);
  const penalty = number('a number above 0', (value) => value > 0);
  withPrompt(command)
    .option('--max-new-tokens <n>', 'the longest answer', wholeNumber(1), 512)
    .option('--temperature <t>', '0 takes the likeliest token', temperature, 0)
    .option('--top-p <p>', 'the smallest set of tokens with this probability; 1: all', topP, 1)
    .option('--top-k <k>', 'the k likeliest tokens; 0: all', wholeNumber(0), 0)
    .option('--repetition-penalty <r>', 'above 1: repetition is less likely', penalty, 1)
    .option('--seed <s>', 'of the sampling noise', wholeNumber(0), 0);
  withJson(withCompute(command, true)).action(async (options: GenerateOptions) => {
    const input = await promptInput(options, command);
    const { generate, openPolicy } = await import('@visurf/core');
    using policy = await openPolicy(options.model, { ...options, dtype: 'auto', onProgress: downloads() });
    const { maxNewTokens, temperature, topP, topK, repetitionPenalty, seed } = options;
    const sampling = { maxNewTokens, temperature, topP, topK, repetitionPenalty, seed };
    if (options.json) return printJson(await generate(policy, input, sampling));
    const { stop } = await generate(policy, input, sampling, (piece) => process.stdout.write(piece));
    process.stdout.write('\n');
    if (stop === 'length') console.error(`(cut off after ${maxNewTokens} tokens: --max-new-tokens allows more)`);
  });
  example(command, 'visurf generate --model DIR --image street.jpg --prompt "find the red car"');
}
