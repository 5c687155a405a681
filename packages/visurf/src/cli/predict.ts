import type { Command } from 'commander';
import type { PredictionLine } from '@visurf/core';
import { stoppable } from './interrupt.ts';
import { measureOf, withMeasure } from './measure.ts';
import type { MeasuredOptions } from './measure.ts';
import { example, withCompute, withImages, withJson, withModel } from './options.ts';
import type { ComputeOptions, JsonOption, ModelOptions } from './options.ts';
import { printJson, Progress, sayKept, warn } from './output.ts';

interface PredictOptions extends ModelOptions, MeasuredOptions, ComputeOptions, JsonOption {
  readonly image: string[];
  readonly images?: string;
  readonly data?: string;
  readonly problem?: string;
  readonly draw?: string;
  readonly output?: string;
  readonly skipBad?: true;
  readonly allowOutside?: true;
}

export function definePredict(program: Command): void {
  const command = program
    .command('predict')
    .description('answer questions about pictures as the model was trained, in pixels of the pictures');
  withImages(withModel(command, 'checkpoint'), 'a picture; may be repeated, for an answer each')
    .option('--images <dir>', 'all pictures of a folder and of those in it')
    .option('--data <file.jsonl>', 'rows with image and problem; labels are not looked at')
    .option('--problem <text>', 'what is asked of every picture, and of rows that ask nothing')
    .option('--draw <dir>', 'where the pictures go with what was found')
    .option('--output <file.jsonl>', 'where the answers go; what it holds already is not asked again')
    .option('--skip-bad', 'leave pictures out that cannot be read')
    .option('--allow-outside', 'images of rows may lie outside of the folder of the data');
  withJson(withCompute(withMeasure(command), true)).action(async (given: PredictOptions) => {
    requireOneSource(given, command);
    await predict(given);
  });
  example(
    command,
    'visurf predict --model runs/cars --image street.jpg --problem "the red car"',
    'visurf predict --model runs/cars --images photos --problem "the red car" --output cars.jsonl --draw drawn',
    'visurf predict --model runs/cars --data questions.jsonl --output answers.jsonl',
  );
}

function requireOneSource({ image, images, data }: PredictOptions, command: Command): void {
  const given = [image.length > 0, images !== undefined, data !== undefined].filter(Boolean);
  if (given.length !== 1) command.error('error: name one of --image, --images and --data');
}

async function predict(given: PredictOptions): Promise<void> {
  const { predictAll } = await import('@visurf/core');
  const { image, images: folder, json, output, skipBad, model, ...rest } = given;
  const { data, problem, draw, allowOutside, revision, adapter, base, device, precision, stream } = rest;
  const progress = new Progress();
  const lines: PredictionLine[] = [];
  const show = (line: PredictionLine): void => {
    if (output !== undefined) return;
    if (json) lines.push(line);
    else process.stdout.write(`${JSON.stringify(line)}\n`);
  };
  const next = output === undefined ? 'Repeat the command to start again' : 'Repeat the command to go on from there';
  const done = await stoppable(
    async (signal) =>
      predictAll({
        ...(await measureOf(given)),
        ...{ model, revision, adapter, base, device, precision, stream, images: image, folder, data, problem, signal },
        ...{ draw, output, allowOutside, onLine: show, onKept: sayKept },
        ...(skipBad && { onSkip: (message: string) => warn(`left out:\n${message}`) }),
        onDownload: (each) => progress.download(each),
        onOrigins: (origins) => origins.forEach((line) => progress.message(line)),
        onProgress: (what, at, total) => {
          if (total > 1) progress.update(what === 'pictures' ? 'reading pictures' : 'answering', at, total);
        },
      }),
    next,
  );
  progress.finish();
  if (!done) return;
  const { n, before, cutOff, maxNewTokens } = done;
  if (before > 0) console.error(`${before} answers were in ${output!} already`);
  if (cutOff > 0) warn(`${cutOff} answers were cut off after ${maxNewTokens} tokens: --max-new-tokens allows more`);
  if (json) printJson(output === undefined ? { n, predictions: lines, draw } : { n, output: done.output, draw });
  else if (output !== undefined) console.error(`${n} answers are in ${output}`);
  if (draw !== undefined) console.error(`the pictures are in ${draw}`);
}
