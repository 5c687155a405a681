import type { Command } from 'commander';
import { example, withJson } from './options.ts';
import type { JsonOption } from './options.ts';
import { print, printJson, table } from './output.ts';

interface CheckOptions extends JsonOption {
  readonly task: string;
}

export function defineData(program: Command): void {
  const data = program.command('data').description('look after datasets');
  const check = data
    .command('check')
    .description('read every line, image and solution of a dataset, and list what is wrong')
    .argument('<file.jsonl>', 'one sample per line: image, problem, solution')
    .option('--task <name>', 'of samples that do not name theirs', 'grounding');
  withJson(check).action(async (file: string, { json, task }: CheckOptions) => {
    const { checkData } = await import('@visurf/core');
    const { n, images, tasks } = await checkData(file, { task });
    if (json) return printJson({ n, images, tasks });
    const rows = Object.entries(tasks).map(([name, count]) => [name, String(count)]);
    print(`${table(['task', 'samples'], rows)}\n\n${n} samples on ${images} images: all usable`);
  });
  example(check, 'visurf data check train.jsonl');
}
