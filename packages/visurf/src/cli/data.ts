import { InvalidArgumentError, Option } from 'commander';
import type { Command } from 'commander';
import type * as Library from '@visurf/core';
import type { Ask, BoxForm, Units } from '@visurf/core';
import { stoppable } from './interrupt.ts';
import { partsIn, withMade, type Made } from './made.ts';
import { measureOf, withPlugins, withTasks } from './measure.ts';
import type { MeasuredOptions } from './measure.ts';
import { example, wholeNumber, withJson } from './options.ts';
import type { JsonOption } from './options.ts';
import { Progress, downloads, print, printJson, reading, table, warn } from './output.ts';

/** What says how a source is read. */
interface ReadingOptions {
  readonly format?: string;
  readonly boxes?: BoxForm;
  readonly units?: Units;
  readonly split?: string;
  readonly allowOutside?: true;
}

interface CheckOptions extends MeasuredOptions, JsonOption, ReadingOptions {
  readonly revision?: string;
  readonly base?: string;
  readonly model?: string;
  readonly validation?: string;
  readonly all?: true;
}

interface PluginOptions {
  readonly plugin: readonly string[];
}

interface ImportOptions extends JsonOption, ReadingOptions, PluginOptions {
  readonly output: string;
  readonly ask?: Ask[];
  readonly classes?: string[];
}

interface SplitOptions extends JsonOption, ReadingOptions, PluginOptions {
  readonly output: string;
  readonly validation: number;
  readonly test: number;
  readonly seed: number;
}

interface PreviewOptions extends JsonOption, ReadingOptions, PluginOptions {
  readonly output: string;
  readonly limit: number;
}

const WHAT_IS_KEPT = 'What was found out about images is kept: repeat the command to go on';

const ASKS: readonly Ask[] = ['find', 'count', 'exists'];

export function defineData(program: Command): void {
  const data = program.command('data').description('look after datasets');
  defineCheck(data);
  defineImport(data);
  defineSplit(data);
  definePreview(data);
}

/** `--format`, `--boxes`, `--units`, `--split`. */
export function withReading(command: Command): Command {
  return command
    .option('--format <name>', 'of the source, where it cannot be told (default: auto)')
    .addOption(new Option('--boxes <form>', 'how boxes are written').choices(['xyxy', 'xywh', 'cxcywh']))
    .addOption(
      new Option('--units <units>', 'what their numbers are').choices([
        ...['pixels', 'unit', 'thousandths', 'percent', 'resized'],
      ]),
    )
    .option(
      '--split <name>',
      'the part of a set that is read: train, validation, test; SET/train where a set of the hub holds several',
    )
    .option('--allow-outside', 'images may lie outside of the folder of the data');
}

/** The same of commands that ask nobody: their readers come with `--plugin`. */
const readingAlone = (command: Command): Command => withPlugins(withReading(command));

function defineCheck(data: Command): void {
  const check = withReading(
    withTasks(
      data
        .command('check')
        .description('read every line, image and solution of datasets, and list what is wrong or looks wrong')
        .argument(
          '[file...]',
          'JSONL with one sample per line, any other format, or owner/name on the hub (default: the data of --config)',
        ),
    ),
  )
    .option('--validation <file>', 'data that is held out: what these files share with it is listed')
    .option('--model <dir>', 'the checkpoint to train: labels must survive its coordinates, which are whole numbers')
    .option('--min-pixels <n>', 'area that images are scaled up to', wholeNumber(1))
    .option('--max-pixels <n>', 'area that images are scaled down to', wholeNumber(1))
    .option('--all', 'list all findings, however many');
  check
    .option('--revision <name>', 'branch, tag or commit of a model on the hub (default: main)')
    .option('--base <dir>', 'the base of a model that is an adapter, where it is not where the adapter says');
  withJson(check).action(async (files: string[], options: CheckOptions) => {
    if (files.length === 0 && options.config === undefined) {
      check.error("error: missing required argument 'file', or --config of the data to look at");
    }
    for (const name of ['revision', 'base'] as const) {
      if (options[name] !== undefined && options.model === undefined) check.error(`error: --${name} goes with --model`);
    }
    const { json, all, model, revision, base, minPixels, maxPixels, validation } = options;
    const { checkData, listFindings, unusable } = await import('@visurf/core');
    const progress = new Progress();
    const measure = await measureOf(options);
    const report = await stoppable(
      (signal) =>
        checkData(files, {
          ...measure,
          ...readingOf(options),
          ...{ model, revision, base, minPixels, maxPixels, validation, signal },
          ...{ onProgress: downloads(), onRead: reading(progress) },
        }),
      WHAT_IS_KEPT,
    );
    progress.finish();
    if (!report) return;
    const { n, images, tasks, findings, notes } = report;
    const shown = all ? Infinity : undefined;
    const error = unusable(findings, shown);
    if (json) {
      printJson({ n, images, tasks, findings: findings.map(({ id: _, ...finding }) => finding) });
    } else {
      const rows = Object.entries(tasks).map(([name, count]) => [name, String(count)]);
      const warnings = findings.filter(({ severity }) => severity === 'warning');
      for (const note of notes) print(`read: ${note}`);
      if (warnings.length > 0) print(`worth a look:\n${listFindings(warnings, shown).join('\n')}\n`);
      if (!error) print(`${table(['task', 'samples'], rows)}\n\n${n} samples on ${images} images: all usable`);
    }
    if (error) throw error;
  });
  example(check, 'visurf data check train.jsonl', 'visurf data check train.jsonl --validation validation.jsonl --json');
}

const FILE = ['<file>', 'JSONL, any other format, or owner/name on the hub'] as const;

interface Making {
  readonly description: string;
  readonly source: readonly [name: string, description: string];
  /** What `--output` names. */
  readonly output: readonly [value: string, description: string];
  readonly files?: Made['files'];
}

/** A command that reads a set and writes something of it where `--output` says. */
function making(data: Command, name: string, { description, source, output, files }: Making): Command {
  const [value, said] = output;
  const command = data
    .command(name)
    .description(description)
    .argument(...source);
  const option = new Option(`--output ${value}`, said).makeOptionMandatory();
  return readingAlone(withMade(command, option, files && { files }));
}

function defineImport(data: Command): void {
  const command = making(data, 'import', {
    description: 'write training data of another format as JSONL: COCO, VOC, YOLO, parquet, LLaVA, ... (docs/data.md)',
    source: ['<source>', 'a file, a folder, or a data set of the hub: owner/name, owner/name@revision'],
    output: ['<file.jsonl>', 'the file to write; images stay where they are'],
  })
    .option(
      '--ask <kinds>',
      'questions about classes: find, count, exists, or several with commas (default: find)',
      asks,
    )
    .option('--classes <names>', 'classes that are asked for, with commas (default: all)', names);
  withJson(command).action(async (source: string, options: ImportOptions) => {
    const { importData } = await libraryWith(options);
    const { output, ask, classes, json } = options;
    const found = await stoppable((signal) =>
      importData(source, { ...readingOf(options), output, ask, classes, signal, onDownload: downloads() }),
    );
    if (!found) return;
    const { notes, ...imported } = found;
    for (const note of notes) warn(note);
    if (json) printJson({ ...imported, notes });
    else print(`${imported.n} samples on ${imported.images} images (${imported.format}): ${output}`);
  });
  example(command, 'visurf data import my-set/ --output train.jsonl --split train');
}

function defineSplit(data: Command): void {
  const command = making(data, 'split', {
    description: 'split a dataset into parts that share no picture',
    source: FILE,
    output: ['<dir>', 'the folder that gets train.jsonl, validation.jsonl and test.jsonl'],
    files: partsIn,
  })
    .option('--validation <share>', 'of the samples', share, 0.2)
    .option('--test <share>', 'of the samples', share, 0)
    .option('--seed <n>', 'of the order in which pictures are dealt', wholeNumber(0), 0);
  withJson(command).action(async (file: string, options: SplitOptions) => {
    const { output, validation, test, seed, json } = options;
    if (validation + test >= 1) command.error('error: --validation and --test leave nothing to train on');
    const { splitData } = await libraryWith(options);
    const progress = new Progress();
    const asked = askedOf(options, progress);
    const counts = await stoppable((signal) => splitData(file, { ...asked, output, validation, test, seed, signal }));
    progress.finish();
    if (!counts) return;
    if (json) printJson(counts);
    else
      print(
        table(
          ['part', 'samples'],
          Object.entries(counts).map(([part, count]) => [part, String(count)]),
        ),
      );
  });
  example(command, 'visurf data split all.jsonl --output data --validation 20% --test 10%');
}

function definePreview(data: Command): void {
  const command = making(data, 'preview', {
    description: 'write a page that shows samples with their boxes',
    source: FILE,
    output: ['<page.html>', 'the page; the pictures are in it'],
  }).option('--limit <n>', 'samples to show', wholeNumber(1), 200);
  withJson(command).action(async (file: string, options: PreviewOptions) => {
    const { output, limit, json } = options;
    const { previewData } = await libraryWith(options);
    const progress = new Progress();
    const asked = askedOf(options, progress);
    const found = await stoppable((signal) => previewData(file, { ...asked, output, shown: limit, signal }));
    progress.finish();
    if (!found) return;
    const { shown, n } = found;
    if (json) printJson({ shown, n });
    else print(`${shown} of ${n} samples: ${output}`);
  });
  example(command, 'visurf data preview train.jsonl --output page.html');
}

/** The library with plugins. @throws UserError where one cannot be loaded */
async function libraryWith({ plugin }: PluginOptions): Promise<typeof Library> {
  const library = await import('@visurf/core');
  for (const file of plugin) library.loadPlugin(file);
  return library;
}

/** Samples of the grounding task, with what is said while they are read. */
const askedOf = (options: ReadingOptions, progress: Progress) => ({
  ...readingOf(options),
  ...{ task: 'grounding', onNote: warn, onProgress: reading(progress), onDownload: downloads() },
});

const readingOf = ({ format, boxes, units, split, allowOutside }: ReadingOptions): ReadingOptions => ({
  ...(format !== undefined && { format }),
  ...(boxes !== undefined && { boxes }),
  ...(units !== undefined && { units }),
  ...(split !== undefined && { split }),
  ...(allowOutside && { allowOutside }),
});

/** Reads `find,count`. */
export function asks(text: string): Ask[] {
  const names = text.split(',').map((name) => name.trim());
  const known = names.filter((name): name is Ask => (ASKS as readonly string[]).includes(name));
  if (known.length === names.length) return [...new Set(known)];
  throw new InvalidArgumentError(`Choose among ${ASKS.join(', ')}.`);
}

/** Reads `car,traffic light`. */
export function names(text: string): string[] {
  const given = text.split(',').map((name) => name.trim());
  if (!given.includes('')) return [...new Set(given)];
  throw new InvalidArgumentError('Name classes, with commas between them.');
}

/** Reads `20%` or `0.2`. */
export function share(text: string): number {
  const value = text.endsWith('%') ? Number(text.slice(0, -1)) / 100 : Number(text);
  if (text.trim() !== '' && value >= 0 && value < 1) return value;
  throw new InvalidArgumentError('It must be a share below 1, such as 20% or 0.2.');
}
