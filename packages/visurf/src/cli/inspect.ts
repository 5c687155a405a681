import type { Command } from 'commander';
import type { Inspection } from '@visurf/core';
import { example, promptInput, withJson, withPrompt } from './options.ts';
import type { JsonOption, PromptOptions } from './options.ts';
import { downloads, formatNumber, print, printJson } from './output.ts';

export function defineInspect(program: Command): void {
  const command = program.command('inspect').description('show what the model sees of a prompt: text, tokens, images');
  withJson(withPrompt(command)).action(async (options: PromptOptions & JsonOption) => {
    const input = await promptInput(options, command);
    const { inspect } = await import('@visurf/core');
    const { model, revision, adapter, base, think } = options;
    const inspection = await inspect(model, input, { revision, adapter, base, think, onProgress: downloads() });
    if (options.json) printJson(inspection);
    else print(describe(inspection));
  });
  example(command, 'visurf inspect --model DIR --image street.jpg --prompt "find the red car"');
}

function describe({ rendered, inputIds, imageGridThw, pixelValues }: Inspection): string {
  const lines = [rendered.trimEnd(), '', `${inputIds.length} tokens: ${inputIds.join(' ')}`];
  for (const [index, grid] of imageGridThw.entries()) {
    lines.push(`image ${index + 1}: ${grid.join(' x ')} patches (time, height, width)`);
  }
  if (pixelValues) {
    const { shape, mean, std, min, max } = pixelValues;
    const [m, s, low, high] = [mean, std, min, max].map(formatNumber);
    lines.push(`pixel values [${shape.join(', ')}]: mean ${m}, standard deviation ${s}, from ${low} to ${high}`);
  }
  return lines.join('\n');
}
