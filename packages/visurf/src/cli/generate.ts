import type { Command } from 'commander';
import { samplingOf, streamAnswer, withSampling } from './answer.ts';
import type { SamplingOptions } from './answer.ts';
import { example, promptInput, withCompute, withJson, withPrompt } from './options.ts';
import type { ComputeOptions, JsonOption, PromptOptions } from './options.ts';
import { downloads, printJson } from './output.ts';

type GenerateOptions = PromptOptions & SamplingOptions & ComputeOptions & JsonOption;

export function defineGenerate(program: Command): void {
  const command = program.command('generate').description('answer a question about images');
  withJson(withCompute(withSampling(withPrompt(command), 512), true)).action(async (options: GenerateOptions) => {
    const input = await promptInput(options, command);
    const { generate, loadPolicy } = await import('@visurf/core');
    using policy = await loadPolicy(options.model, { ...options, dtype: 'auto', onProgress: downloads() });
    if (options.json) printJson(await generate(policy, input, samplingOf(options)));
    else await streamAnswer(policy, input, samplingOf(options));
  });
  example(command, 'visurf generate --model DIR --image street.jpg --prompt "find the red car"');
}
