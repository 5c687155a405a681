import { InvalidArgumentError, Option } from 'commander';
import type { Command } from 'commander';
import type { Exported, ExportOptions } from '@visurf/core';
import { example, wholeNumber, withJson, withModel } from './options.ts';
import type { JsonOption, SourceOptions } from './options.ts';
import { downloads, print, printJson } from './output.ts';

export interface OutputOptions extends SourceOptions, JsonOption {
  readonly output: string;
  readonly dtype?: ExportOptions['dtype'];
  readonly maxShardSize: number;
  readonly minPixels?: number;
  readonly maxPixels?: number;
}

interface Options extends OutputOptions {
  readonly model: string;
  readonly merge?: true;
}

export function defineExport(program: Command): void {
  const command = program
    .command('export')
    .description('write a checkpoint for other programs: a model for transformers and vLLM, or an adapter for PEFT');
  withModel(command, 'checkpoint of a run, model, or adapter').option(
    '--merge',
    'merge the adapter into the weights; otherwise the adapter alone is written',
  );
  withOutput(command).action(async ({ model, merge, ...options }: Options) => {
    await write(model, merge ?? false, options);
  });
  example(command, 'visurf export --model runs/cars/best --output cars --dtype bfloat16');
}

export const dtypeOption = (): Option =>
  new Option('--dtype <type>', 'of full weights; unless given, that of the checkpoint').choices([
    'float32',
    'bfloat16',
    'float16',
  ]);

export const shardSizeOption = (): Option =>
  new Option('--max-shard-size <size>', 'full weights are cut into files of at most this')
    .argParser(bytes)
    .default(5e9, '5GB');

/** Where full weights go, and in which form. */
export function withOutput(command: Command): Command {
  const pixels = 'written into the processor files: area that images are scaled';
  return withJson(
    command
      .requiredOption('--output <dir>', 'a new or empty directory')
      .option('--min-pixels <n>', `${pixels} up to (default: as the model's files say)`, wholeNumber(1))
      .option('--max-pixels <n>', `${pixels} down to (default: as the model's files say)`, wholeNumber(1))
      .addOption(dtypeOption())
      .addOption(shardSizeOption()),
  );
}

export async function write(
  model: string,
  merge: boolean,
  options: OutputOptions & { readonly device?: string },
): Promise<void> {
  const { output, dtype, maxShardSize, minPixels, maxPixels, revision, adapter, base, json, device } = options;
  const { exportModel, loadPolicy, requireNewDirectory } = await import('@visurf/core');
  requireNewDirectory(output);
  using policy = await loadPolicy(model, { adapter, base, revision, device, onProgress: downloads() });
  const result = exportModel(policy, output, { dtype, maxShardBytes: maxShardSize, merge, minPixels, maxPixels });
  if (json) printJson(result);
  else print(describe(result));
}

export function describe({ directory, kind, dtype, files, note }: Exported): string {
  const listed = files.map((file) => `  ${file}`).join('\n');
  return `${kind}${dtype ? ` in ${dtype}` : ''}: ${directory}\n${listed}${note ? `\n${note}` : ''}`;
}

/** Reads `5GB`, `300MB` or a number of bytes; powers of ten, as Hugging Face has it. */
function bytes(text: string): number {
  const [, digits, unit = ''] = /^(\d+(?:\.\d+)?) ?([KMG]?)B?$/i.exec(text) ?? [];
  const size = Math.floor(Number(digits) * { '': 1, K: 1e3, M: 1e6, G: 1e9 }[unit.toUpperCase() as 'K']);
  if (size > 0) return size;
  throw new InvalidArgumentError('It must be a size such as 5GB or 300MB.');
}
