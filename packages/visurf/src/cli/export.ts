import { InvalidArgumentError, Option } from 'commander';
import type { Command } from 'commander';
import type { Exported, ExportOptions } from '@visurf/core';
import { example, withJson, withModel } from './options.ts';
import type { JsonOption } from './options.ts';
import { downloads, print, printJson } from './output.ts';

export interface OutputOptions extends JsonOption {
  readonly revision?: string;
  readonly output: string;
  readonly dtype?: ExportOptions['dtype'];
  readonly maxShardSize: number;
}

interface Options extends OutputOptions {
  readonly model: string;
  readonly adapter?: string;
  readonly merge?: true;
}

export function defineExport(program: Command): void {
  const command = program
    .command('export')
    .description('write a checkpoint for other programs: a model for transformers and vLLM, or an adapter for PEFT');
  withModel(command, 'checkpoint of a run, model, or adapter')
    .option('--adapter <dir>', 'an adapter to put on the model')
    .option('--merge', 'merge the adapter into the weights; otherwise the adapter alone is written');
  withOutput(command).action(async ({ model, adapter, merge, ...options }: Options) => {
    await write(model, adapter, merge ?? false, options);
  });
  example(command, 'visurf export --model runs/cars/best --output cars --dtype bfloat16');
}

/** Where full weights go, and in which form. */
export function withOutput(command: Command): Command {
  const dtype = new Option('--dtype <type>', 'of full weights; unless given, that of the checkpoint');
  const size = new Option('--max-shard-size <size>', 'full weights are cut into files of at most this');
  return withJson(
    command
      .requiredOption('--output <dir>', 'a new or empty directory')
      .addOption(dtype.choices(['float32', 'bfloat16', 'float16']))
      .addOption(size.argParser(bytes).default(5e9, '5GB')),
  );
}

export async function write(
  model: string,
  adapter: string | undefined,
  merge: boolean,
  { output, dtype, maxShardSize, revision, json }: OutputOptions,
): Promise<void> {
  const { exportModel, loadPolicy, requireNewDirectory } = await import('@visurf/core');
  requireNewDirectory(output);
  using policy = await loadPolicy(model, { adapter, revision, onProgress: downloads() });
  const result = exportModel(policy, output, { dtype, maxShardBytes: maxShardSize, merge });
  if (json) printJson(result);
  else print(describe(result));
}

export function describe({ directory, kind, dtype, files }: Exported): string {
  return `${kind}${dtype ? ` in ${dtype}` : ''}: ${directory}\n${files.map((file) => `  ${file}`).join('\n')}`;
}

/** Reads `5GB`, `300MB` or a number of bytes; powers of ten, as Hugging Face has it. */
function bytes(text: string): number {
  const [, digits, unit = ''] = /^(\d+(?:\.\d+)?) ?([KMG]?)B?$/i.exec(text) ?? [];
  const size = Math.floor(Number(digits) * { '': 1, K: 1e3, M: 1e6, G: 1e9 }[unit.toUpperCase() as 'K']);
  if (size > 0) return size;
  throw new InvalidArgumentError('It must be a size such as 5GB or 300MB.');
}
