import type { Command } from 'commander';
import { samplingOf, streamAnswer, withSampling } from './answer.ts';
import type { SamplingOptions } from './answer.ts';
import { example, promptInput, withCompute, withJson, withPrompt } from './options.ts';
import type { ComputeOptions, JsonOption, PromptOptions } from './options.ts';
import { downloads, printJson, PROGRAM } from './output.ts';

type GenerateOptions = PromptOptions & SamplingOptions & ComputeOptions & JsonOption;

export function defineGenerate(program: Command): void {
  const command = program
    .command('generate')
    .description('answer a prompt as it is typed, raw; predict asks as the model was trained');
  withJson(withCompute(withSampling(withPrompt(command), 512), true)).action(async (options: GenerateOptions) => {
    const input = await promptInput(options, command);
    const { generate, loadPolicy } = await import('@visurf/core');
    using policy = await loadPolicy(options.model, { ...options, dtype: 'auto', onProgress: downloads() });
    if (policy.settings) hint(options.model);
    if (options.json) printJson(await generate(policy, input, samplingOf(options)));
    else await streamAnswer(policy, input, samplingOf(options));
  });
  example(command, 'visurf generate --model DIR --image street.jpg --prompt "find the red car"');
}

/** A model that was trained never saw a prompt as it is typed here. */
function hint(model: string): void {
  console.error(
    `generate gives the model what is typed, and says what it says: coordinates are the model's own.\n` +
      `As it was trained, in pixels of the picture: ${PROGRAM} predict --model ${model} --image FILE --problem TEXT`,
  );
}
