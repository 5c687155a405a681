import type { Command } from 'commander';
import { withOutput, write } from './export.ts';
import type { OutputOptions } from './export.ts';
import { example } from './options.ts';

interface Options extends OutputOptions {
  readonly model: string;
  readonly adapter?: string;
}

export function defineMerge(program: Command): void {
  const command = program
    .command('merge')
    .description('merge a LoRA adapter into the weights of its base model')
    .requiredOption('--model <dir>', 'checkpoint of a run with LoRA or adapter, which names its base; or the base')
    .option('--adapter <dir>', 'the adapter, where the model is the base');
  withOutput(command).action(async ({ model, adapter, ...options }: Options) => {
    await write(model, adapter, true, options);
  });
  example(command, 'visurf merge --model runs/cars/best --output cars');
}
