import { resolve } from 'node:path';
import { createInterface } from 'node:readline/promises';
import type { Command } from 'commander';
import type { DemoResult } from '@visurf/mini';
import { INTERRUPTED, interruptible, whenStopped } from './interrupt.ts';
import { deviceOption, example, precisionOption, wholeNumber, withJson } from './options.ts';
import type { ComputeOptions, JsonOption } from './options.ts';
import { PROGRAM, Progress, formatDuration, formatNumber, print, printJson, table } from './output.ts';

interface DemoOptions extends ComputeOptions, JsonOption {
  readonly quick?: true;
  readonly resume?: true;
  readonly output?: string;
  readonly again?: true;
  readonly seed: number;
}

export function defineDemo(program: Command): void {
  const command = program
    .command('demo')
    .description(
      'train a small model on six tasks with SFT, RLVR, both in turn, and ViSurf, and compare what they learned (about 7 minutes)',
    )
    .option('--quick', 'two tasks and fewer steps (about 90 seconds)')
    .option(
      '--output <dir>',
      'where the data, the runs and the report go (default: runs/demo, with --quick runs/demo-quick)',
    )
    .option('--seed <s>', 'of the data and the training', wholeNumber(0), 0)
    .option('--resume', 'go on with a demo that was stopped')
    .option('--again', 'delete a finished demo in the same place, and begin anew')
    .addOption(deviceOption().default('cpu'))
    .addOption(precisionOption().default('float32'));
  withJson(command).action(async (options: DemoOptions) => {
    const { quick = false, resume = false, seed, device, precision, json } = options;
    const output = options.output ?? (quick ? 'runs/demo-quick' : 'runs/demo');
    const { demo, isFinished } = await import('@visurf/mini');
    const again = options.again ?? (!resume && isFinished(resolve(output)) && (await agrees(output)));
    const progress = new Progress();
    const same = `${PROGRAM} demo ${quick ? '--quick ' : ''}--seed ${seed} --output ${output}`;
    const next = `To go on: ${same} --resume`;
    whenStopped(resume ? next : `To start again: ${same}`);
    const result = await interruptible((signal) =>
      demo({
        ...{ quick, resume, again, output: resolve(output), seed, device, precision, signal },
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

/** Asks a person; nobody else agrees. */
async function agrees(output: string): Promise<boolean> {
  if (!process.stdin.isTTY || !process.stderr.isTTY) return false;
  const lines = createInterface({ input: process.stdin, output: process.stderr });
  try {
    const answer = await lines.question(
      `A finished demo is in ${output} (report.html). Delete it and begin anew? [y/N] `,
    );
    return /^y(es)?$/i.test(answer.trim());
  } finally {
    lines.close();
  }
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
