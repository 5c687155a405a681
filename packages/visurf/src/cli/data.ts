import type { Command } from 'commander';
import { measureOf, withTasks } from './measure.ts';
import type { MeasuredOptions } from './measure.ts';
import { example, wholeNumber, withJson } from './options.ts';
import type { JsonOption } from './options.ts';
import { downloads, print, printJson, table } from './output.ts';

interface CheckOptions extends MeasuredOptions, JsonOption {
  readonly revision?: string;
  readonly base?: string;
  readonly model?: string;
  readonly all?: true;
}

export function defineData(program: Command): void {
  const data = program.command('data').description('look after datasets');
  const check = withTasks(
    data
      .command('check')
      .description('read every line, image and solution of datasets, and list what is wrong or looks wrong')
      .argument('<file.jsonl...>', 'one sample per line: image, problem, solution'),
  )
    .option('--model <dir>', 'the checkpoint to train: labels must survive its coordinates, which are whole numbers')
    .option('--min-pixels <n>', 'area that images are scaled up to', wholeNumber(1))
    .option('--max-pixels <n>', 'area that images are scaled down to', wholeNumber(1))
    .option('--all', 'list all findings, however many');
  check
    .option('--revision <name>', 'branch, tag or commit of a model on the hub (default: main)')
    .option('--base <dir>', 'the base of a model that is an adapter, where it is not where the adapter says');
  withJson(check).action(async (files: string[], options: CheckOptions) => {
    for (const name of ['revision', 'base'] as const) {
      if (options[name] !== undefined && options.model === undefined) check.error(`error: --${name} goes with --model`);
    }
    const { json, all, model, revision, base, minPixels, maxPixels } = options;
    const { checkData, listFindings, unusable } = await import('@visurf/core');
    const report = await checkData(files, {
      ...(await measureOf(options)),
      ...{ model, revision, base, minPixels, maxPixels, onProgress: downloads() },
    });
    const { n, images, tasks, findings } = report;
    const shown = all ? Infinity : undefined;
    const error = unusable(findings, shown);
    if (json) {
      printJson({ n, images, tasks, findings: findings.map(({ id: _, ...finding }) => finding) });
    } else {
      const rows = Object.entries(tasks).map(([name, count]) => [name, String(count)]);
      const warnings = findings.filter(({ severity }) => severity === 'warning');
      if (warnings.length > 0) print(`worth a look:\n${listFindings(warnings, shown).join('\n')}\n`);
      if (!error) print(`${table(['task', 'samples'], rows)}\n\n${n} samples on ${images} images: all usable`);
    }
    if (error) throw error;
  });
  example(check, 'visurf data check train.jsonl', 'visurf data check train.jsonl --model DIR --json');
}
