import { Option } from 'commander';
import type { Command } from 'commander';
import type { MergeMethod } from '@visurf/core';
import { describe, withOutput, write } from './export.ts';
import type { OutputOptions } from './export.ts';
import { deviceOption, example, number, withSource } from './options.ts';
import { print, printJson } from './output.ts';

interface Options extends OutputOptions {
  readonly device: string;
  readonly model: string;
  readonly with?: string;
  readonly method?: MergeMethod['method'];
  readonly weight?: number;
  readonly scale?: number;
}

export function defineMerge(program: Command): void {
  const command = program
    .command('merge')
    .description('merge a LoRA adapter into the weights of its base model, or two models into one');
  withSource(
    command.requiredOption(
      '--model <dir>',
      'checkpoint of a run with LoRA or adapter, which names its base; or the base; or the first of two models',
    ),
  )
    .option('--with <dir>', 'the second of two models')
    .addOption(
      new Option('--method <name>', 'of merging two models (default: linear)').choices([
        'linear',
        'slerp',
        'task-arithmetic',
      ]),
    )
    .option(
      '--weight <t>',
      'linear and slerp: share of the second model (default: 0.5)',
      number('from 0 to 1', isShare),
    )
    .option(
      '--base <dir>',
      'task-arithmetic: the model that both were trained from; otherwise the base of an adapter, where it is not where that says',
    )
    .option(
      '--scale <s>',
      'task-arithmetic: of what both learned (default: 1)',
      number('a number', () => true),
    );
  withOutput(command.addOption(deviceOption().default('cpu'))).action(async (options: Options) => {
    const { model, with: other } = options;
    if (other !== undefined) return mergeTwo(options, other, command);
    for (const name of ['method', 'weight', 'scale'] as const) {
      if (options[name] !== undefined) command.error(`error: --${name} goes with --with, the second of two models`);
    }
    await write(model, true, options);
  });
  example(
    command,
    'visurf merge --model runs/cars/best --output cars',
    'visurf merge --model runs/sft/best --with runs/rlvr/best --method slerp --weight 0.5 --output merged',
    'visurf merge --model sft --with rlvr --method task-arithmetic --base Qwen2.5-VL-3B-Instruct --scale 0.5 --output merged',
  );
}

const isShare = (value: number): boolean => value >= 0 && value <= 1;

async function mergeTwo(options: Options, other: string, command: Command): Promise<void> {
  const { model, adapter, output, dtype, maxShardSize, minPixels, maxPixels, revision, device, json } = options;
  if (adapter !== undefined) command.error('error: --adapter and --with are different merges: do one after the other');
  const how = methodOf(options, command);
  const { locateModel, mergeModels, requireNewDirectory } = await import('@visurf/core');
  requireNewDirectory(output);
  const whole = async (name: string): Promise<string> => {
    const located = await locateModel(name, name === model ? { revision } : {});
    return located.adapter ?? located.base;
  };
  const models = [await whole(model), await whole(other)] as const;
  const based = how.method === 'task-arithmetic' ? { ...how, base: await whole(how.base) } : how;
  const result = mergeModels(models, based, output, {
    dtype,
    maxShardBytes: maxShardSize,
    minPixels,
    maxPixels,
    device,
  });
  if (json) printJson(result);
  else print(describe(result));
}

function methodOf({ method = 'linear', weight, base, scale }: Options, command: Command): MergeMethod {
  if (method !== 'task-arithmetic') {
    if (base !== undefined || scale !== undefined) {
      command.error(`error: --base and --scale are for --method task-arithmetic, not ${method}`);
    }
    return { method, weight: weight ?? 0.5 };
  }
  if (weight !== undefined) command.error('error: --weight is for --method linear or slerp');
  if (base === undefined) command.error('error: --method task-arithmetic needs --base, what both models started from');
  return { method, base, scale: scale ?? 1 };
}
