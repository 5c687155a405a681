import { constants, setPriority } from 'node:os';
import { Option } from 'commander';
import type { Command } from 'commander';
import { stoppable, untilStopped } from './interrupt.ts';
import { withMade } from './made.ts';
import { example, wholeNumber, withJson } from './options.ts';
import type { JsonOption } from './options.ts';
import { print, printJson, PROGRAM } from './output.ts';

interface StudioOptions {
  readonly port: number;
  readonly host?: string;
  readonly token?: string;
  readonly base?: string;
  readonly images?: string;
}

interface ExportOptions extends JsonOption {
  readonly output: string;
}

interface FollowOptions extends JsonOption {
  readonly to: string;
}

export function defineStudio(program: Command): void {
  const studio = program
    .command('studio')
    .description('watch runs in a browser: curves, groups with their pictures, evaluations')
    .argument('[dir...]', 'runs, or folders that hold some, also in an object store (default: runs)')
    .option('--port <n>', 'where it listens; 0: any that is free', wholeNumber(0), 7070)
    .option('--host <address>', 'let other machines in by this address, with a token')
    .option('--token <secret>', 'what others must show (default: a new one, in the link)')
    .option('--base <path>', 'the path that a proxy puts before it')
    .option('--images <dir>', 'pictures of runs that have not kept theirs, named as their samples')
    .action(async (folders: string[], { port, host, token, base, images }: StudioOptions) => {
      // Beside a training it takes what that leaves.
      setPriority(constants.priority.PRIORITY_LOW);
      const { startStudio } = await import('@visurf/studio');
      const roots = folders.length > 0 ? folders : ['runs'];
      const server = await startStudio({ roots, port, host, token, base, images });
      print(server.link);
      await untilStopped();
      await server.close();
    });
  example(
    studio,
    'visurf studio runs',
    'visurf studio runs/cars --port 0',
    'visurf studio export runs/cars --output cars.html',
  );
  defineExport(studio);
  defineFollow(program);
}

function defineExport(studio: Command): void {
  const command = studio
    .command('export')
    .description('write a run as one HTML file that needs no server')
    .argument('<run>', 'its directory');
  const made = new Option('--output <file.html>', 'the file to write, of 10 MB at most').makeOptionMandatory();
  withJson(withMade(command, made)).action(async (run: string, { output, json }: ExportOptions) => {
    const { exportRun } = await import('@visurf/studio');
    const { groups, total, bytes } = await exportRun(run, { output });
    if (json) printJson({ groups, total, bytes });
    else print(`${groups} of ${total} groups, ${(bytes / 1e6).toFixed(1)} MB: ${output}`);
  });
  example(command, 'visurf studio export runs/cars --output cars.html');
}

function defineFollow(program: Command): void {
  const command = program
    .command('follow')
    .description('hand the numbers of a run on to TensorBoard, trackio or MLflow while it trains')
    .argument('<run>', 'its directory')
    .requiredOption('--to <place>', 'tensorboard=DIR, trackio=URL or mlflow=URL');
  withJson(command).action(async (run: string, { to, json }: FollowOptions) => {
    const { follow } = await import('@visurf/studio');
    const sent = await stoppable(async (signal) => {
      const count = await follow(run, { to, signal });
      signal.throwIfAborted();
      return count;
    }, `What was sent is not sent twice: repeat ${PROGRAM} follow to go on`);
    if (sent === undefined) return;
    if (json) printJson({ sent });
    else print(`${sent} points handed on`);
  });
  example(command, 'visurf follow runs/cars --to tensorboard=runs/boards');
}
