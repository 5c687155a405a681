/** Options that say how a model is asked and scored, where that is not as it was trained. */

import type { Command } from 'commander';
import type { Config, MeasureOptions } from '@visurf/core';
import { append, wholeNumber } from './options.ts';
import { warn } from './output.ts';

export interface MeasuredOptions {
  readonly config?: string;
  readonly task: readonly string[];
  readonly plugin: readonly string[];
  readonly prompt?: string;
  readonly system?: string;
  readonly maxPixels?: number;
  readonly minPixels?: number;
  readonly maxNewTokens?: number;
}

/** `--config`, `--task`, `--plugin`: which questions, and how answers are scored. */
export function withTasks(command: Command): Command {
  const tasked = command
    .option('--config <config.yaml>', 'settings of this configuration, in place of those that the model carries')
    .option(
      '--task <name | key=value>',
      'task of samples that name none, or a parameter of it; may be repeated',
      append,
      [],
    );
  return withPlugins(tasked);
}

/** `--plugin`: modules of the user's own. */
export const withPlugins = (command: Command): Command =>
  command.option('--plugin <file.ts>', 'a module with tasks, rewards or readers; may be repeated', append, []);

/** `withTasks`, and how questions are put and images seen. @param limits whether the length of answers is among them */
export function withMeasure(command: Command, limits = true): Command {
  const measured = withTasks(command)
    .option('--prompt <template>', 'of the user turn: a text with {Question} in it, or a file that holds one')
    .option('--system <text>', 'the system message')
    .option('--max-pixels <n>', 'area that images are scaled down to', wholeNumber(1))
    .option('--min-pixels <n>', 'area that images are scaled up to', wholeNumber(1));
  return limits ? measured.option('--max-new-tokens <n>', 'the longest answer', wholeNumber(1)) : measured;
}

/** What `withMeasure` or `withTasks` read, for the library. */
export async function measureOf(options: MeasuredOptions): Promise<MeasureOptions> {
  const { config, task, plugin, prompt, system, maxPixels, minPixels, maxNewTokens } = options;
  const { promptTemplate } = await import('@visurf/core');
  const names = task.filter((each) => !each.includes('='));
  return {
    ...{ system, maxPixels, minPixels, maxNewTokens },
    config: config === undefined ? undefined : await readConfig(config),
    task: names.at(-1),
    parameters: task.filter((each) => each.includes('=')),
    plugins: plugin,
    prompt: prompt === undefined ? undefined : promptTemplate(prompt, '--prompt'),
    onWarning: warn,
  };
}

/** A configuration that a command other than training goes by. */
async function readConfig(file: string): Promise<Config> {
  const { loadConfig } = await import('@visurf/core');
  return loadConfig(file, [], { onWarning: warn });
}
