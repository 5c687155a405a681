import type { Command } from 'commander';
import { example, promptInput, tokenIds, withCompute, withJson, withPrompt } from './options.ts';
import type { ComputeOptions, JsonOption, PromptOptions } from './options.ts';
import { downloads, print, printJson, table } from './output.ts';

interface ScoreOptions extends PromptOptions, ComputeOptions, JsonOption {
  readonly response?: string;
  readonly responseIds?: number[];
}

export function defineScore(program: Command): void {
  const command = program
    .command('score')
    .description('give the log-probability of every token of a response, at temperature 1');
  withPrompt(command)
    .option('--response <text>', 'the response; nothing is appended, special tokens in it are text')
    .option('--response-ids <ids>', 'the response as token ids, such as 1,2,3', tokenIds);
  withJson(withCompute(command, true)).action(async (options: ScoreOptions) => {
    const response = responseOf(options, command);
    const input = await promptInput(options, command);
    const { loadPolicy, score } = await import('@visurf/core');
    using policy = await loadPolicy(options.model, { ...options, dtype: 'auto', onProgress: downloads() });
    const result = await score(policy, input, response);
    if (options.json) return printJson(result);
    const rows = result.tokens.map((token, index) => {
      const text = policy.encoder.decode([token], { special: true });
      return [String(token), JSON.stringify(text), result.logProbs[index]!.toFixed(4)];
    });
    print(`${table(['token', 'text', 'log-probability'], rows)}\n\ntotal ${result.total.toFixed(4)}`);
  });
  example(command, 'visurf score --model DIR --image street.jpg --prompt "find the red car" --response "[]"');
}

function responseOf({ response, responseIds }: ScoreOptions, command: Command): { text: string } | { ids: number[] } {
  if (response !== undefined && responseIds === undefined) return { text: response };
  if (responseIds !== undefined && response === undefined) return { ids: responseIds };
  return command.error('error: one of --response and --response-ids is needed');
}
