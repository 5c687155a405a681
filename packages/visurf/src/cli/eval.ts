import type { Command } from 'commander';
import { interruptible } from './interrupt.ts';
import { measureOf, withMeasure } from './measure.ts';
import type { MeasuredOptions } from './measure.ts';
import { example, wholeNumber, withCompute, withJson, withModel } from './options.ts';
import type { ComputeOptions, JsonOption, ModelOptions } from './options.ts';
import { Progress, metricsTable, print, printJson } from './output.ts';

interface EvalOptions extends ModelOptions, MeasuredOptions, ComputeOptions, JsonOption {
  readonly data: string;
  readonly limit?: number;
  readonly output?: string;
}

export function defineEval(program: Command): void {
  const command = withModel(
    program.command('eval').description('score a checkpoint on a dataset, asked as it was trained'),
  )
    .requiredOption('--data <file.jsonl>', 'one sample per line: image, problem, solution')
    .option('--limit <n>', 'only the first samples of the file', wholeNumber(1))
    .option('--output <file.jsonl>', 'where the answer to every sample goes');
  withJson(withCompute(withMeasure(command), true)).action(async (given: EvalOptions) => {
    const { evaluate } = await import('@visurf/core');
    const { json, model, revision, adapter, base, data, limit, output, device, precision } = given;
    const progress = new Progress();
    const { metrics, n, perSample } = await interruptible(async (signal) =>
      evaluate({
        ...(await measureOf(given)),
        ...{ model, revision, adapter, base, data, limit, output, device, precision, signal },
        onProgress: (done, total) => progress.update('evaluating', done, total),
        onDownload: (each) => progress.download(each),
        onOrigins: (lines) => lines.forEach((line) => progress.message(line)),
      }),
    );
    progress.finish();
    if (json) printJson({ metrics, n, perSample });
    else print(`${metricsTable(metrics)}\n\n${n} samples; the answers are in ${perSample}`);
  });
  example(
    command,
    'visurf eval --model runs/cars/best --data validation.jsonl',
    'visurf eval --model DIR --data validation.jsonl --config config.yaml',
    'visurf eval --model DIR --data validation.jsonl --task answer --task match=relaxed',
  );
}
