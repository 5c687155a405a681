import type { Command } from 'commander';
import { stoppable } from './interrupt.ts';
import { example, withJson } from './options.ts';
import type { JsonOption } from './options.ts';
import { print, printJson, Progress, warn } from './output.ts';

interface FetchOptions extends JsonOption {
  readonly output: string;
}

export function defineFetch(program: Command): void {
  const command = program
    .command('fetch')
    .description('bring a run from an object store onto this machine: its records, its best checkpoint and its last')
    .argument('<s3://bucket/prefix>', 'where it is')
    .requiredOption('--output <dir>', 'the directory to make');
  withJson(command).action(async (address: string, { output, json }: FetchOptions) => {
    const { fetchStored } = await import('@visurf/core');
    const progress = new Progress();
    const steps = await stoppable(() =>
      fetchStored(address, output, {
        onWarning: warn,
        onProgress: (done, total) => progress.update('fetching files', done, total),
      }),
    );
    progress.finish();
    if (!steps) return;
    if (json) printJson({ run: output, checkpoints: steps });
    else print(`the run is in ${output}, with the checkpoints of ${steps.join(' and ') || 'no step'}`);
  });
  example(command, 'visurf fetch s3://lab/runs/cars --output runs/cars');
}
