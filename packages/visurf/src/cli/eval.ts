import type { Command } from 'commander';
import { interruptible } from './interrupt.ts';
import { example, wholeNumber, withCompute, withJson, withModel } from './options.ts';
import type { ComputeOptions, JsonOption, ModelOptions } from './options.ts';
import { Progress, metricsTable, print, printJson } from './output.ts';

interface EvalOptions extends ModelOptions, ComputeOptions, JsonOption {
  readonly data: string;
  readonly task?: string;
  readonly limit?: number;
  readonly maxNewTokens?: number;
  readonly output?: string;
}

export function defineEval(program: Command): void {
  const command = withModel(program.command('eval').description('score a checkpoint on a dataset'))
    .requiredOption('--data <file.jsonl>', 'one sample per line: image, problem, solution')
    .option('--task <name>', 'of samples that do not name theirs')
    .option('--limit <n>', 'only the first samples of the file', wholeNumber(1))
    .option('--max-new-tokens <n>', 'the longest answer', wholeNumber(1))
    .option('--output <file.jsonl>', 'where the answer to every sample goes');
  withJson(withCompute(command, true)).action(async ({ json, ...options }: EvalOptions) => {
    const { evaluate } = await import('@visurf/core');
    const progress = new Progress();
    const onProgress = (done: number, total: number) => progress.update('evaluating', done, total);
    const { metrics, n, perSample } = await interruptible((signal) =>
      evaluate({ ...options, onProgress, onDownload: (each) => progress.download(each), signal }),
    );
    progress.finish();
    if (json) printJson({ metrics, n, perSample });
    else print(`${metricsTable(metrics)}\n\n${n} samples; the answers are in ${perSample}`);
  });
  example(command, 'visurf eval --model DIR --data validation.jsonl');
}
