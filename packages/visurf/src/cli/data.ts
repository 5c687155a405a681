import type { Command } from 'commander';
import { measureOf, withTasks } from './measure.ts';
import type { MeasuredOptions } from './measure.ts';
import { example, withJson } from './options.ts';
import type { JsonOption } from './options.ts';
import { print, printJson, table } from './output.ts';

interface CheckOptions extends MeasuredOptions, JsonOption {}

export function defineData(program: Command): void {
  const data = program.command('data').description('look after datasets');
  const check = withTasks(
    data
      .command('check')
      .description('read every line, image and solution of a dataset, and list what is wrong')
      .argument('<file.jsonl>', 'one sample per line: image, problem, solution'),
  );
  withJson(check).action(async (file: string, { json, ...given }: CheckOptions) => {
    const { checkData } = await import('@visurf/core');
    const { n, images, tasks } = await checkData(file, await measureOf(given));
    if (json) return printJson({ n, images, tasks });
    const rows = Object.entries(tasks).map(([name, count]) => [name, String(count)]);
    print(`${table(['task', 'samples'], rows)}\n\n${n} samples on ${images} images: all usable`);
  });
  example(check, 'visurf data check train.jsonl');
}
