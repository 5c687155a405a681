import { resolve } from 'node:path';
import type { Command } from 'commander';
import type { DemoResult } from '@visurf/mini';
import { INTERRUPTED, interruptible, whenStopped } from './interrupt.ts';
import { example, wholeNumber, withCompute, withJson } from './options.ts';
import type { ComputeOptions, JsonOption } from './options.ts';
import { PROGRAM, Progress, formatDuration, formatNumber, print, printJson, table } from './output.ts';

interface DemoOptions extends ComputeOptions, JsonOption {
  readonly quick?: true;
  readonly resume?: true;
  readonly output: string;
  readonly seed: number;
}

export function defineDemo(program: Command): void {
  const command = program
    .command('demo')
    .description(
      'train a small model on six tasks with SFT, RLVR, both in turn, and ViSurf, and compare what they learned (about 7 minutes)',
    )
    .option('--quick', 'two tasks and fewer steps (about 90 seconds)')
    .option('--output <dir>', 'where the data, the runs and the report go', 'runs/demo')
    .option('--seed <s>', 'of the data and the training', wholeNumber(0), 0)
    .option('--resume', 'go on with a demo that was stopped');
  withJson(withCompute(command, true)).action(async (options: DemoOptions) => {
    const { quick = false, resume = false, output, seed, device, precision, json } = options;
    const { demo } = await import('@visurf/mini');
    const progress = new Progress();
    const same = `${PROGRAM} demo ${quick ? '--quick ' : ''}--seed ${seed} --output ${output}`;
    const next = `To go on: ${same} --resume`;
    whenStopped(resume ? next : `To start again: ${same}`);
    const result = await interruptible((signal) =>
      demo({
        ...{ quick, resume, output: resolve(output), seed, device, precision, signal },
        onEvent: ({ stage, done, total, note, etaSeconds }) => {
          whenStopped(next);
          progress.update(stage, done, total, note, etaSeconds);
        },
      }),
    );
    progress.finish();
    if (result.interrupted) {
      console.error(`stopped. ${next}`);
      process.exitCode = INTERRUPTED;
    } else if (json) printJson(result);
    else print(describe(result));
  });
  example(command, 'visurf demo --quick');
}

function describe({ rows, published, report, seconds }: DemoResult): string {
  const tableOf = (of: DemoResult['rows']): string => {
    const metrics = [...new Set(of.flatMap((row) => Object.keys(row.metrics)))];
    const cells = of.map((row) => [row.name, ...metrics.map((name) => formatNumber(row.metrics[name] ?? NaN))]);
    return table(['policy', ...metrics], cells);
  };
  return [
    tableOf(rows),
    'Published, for a model of 7B on the benchmarks that these tasks are small sisters of:',
    tableOf(published),
    `${formatDuration(seconds)}; open ${report} in a browser`,
  ].join('\n\n');
}
