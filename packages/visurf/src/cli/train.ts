import { spawn } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { basename, dirname, relative } from 'node:path';
import { Option } from 'commander';
import type { Command } from 'commander';
import type { Config, ProfileOptions, TrainEvent, TrainResult } from '@visurf/core';
import { INTERRUPTED, interruptible, whenStopped } from './interrupt.ts';
import { launchRanks } from './launch.ts';
import { endWithLauncher, isLaunched, isRank, othersIn, RankLog, tellLauncher } from './rank.ts';
import { configurationOf, givenOf, typed, withConfiguration } from './configuration.ts';
import { withKeyHints } from './hints.ts';
import { withMade } from './made.ts';
import { example, wholeNumber, withCompute, withJson } from './options.ts';
import type { ComputeOptions, JsonOption } from './options.ts';
import { PROGRAM, Progress, metricsTable, print, printJson } from './output.ts';
import { coloured } from './status.ts';
import type { Screen } from './status.ts';
import { TrainingScreen } from './training.ts';

/** Processes on a machine that are never too many: one for each of its GPUs. */
const MOST_PROCESSES = 16;

interface TrainOptions extends Partial<ComputeOptions>, JsonOption {
  readonly resume?: true;
  readonly from?: number;
  readonly changedData?: true;
  readonly skipBad?: true;
  readonly studio?: true;
  readonly unplanned?: true;
  readonly profile?: string | true;
  readonly profileSteps?: number;
  readonly processes?: number;
  readonly continue?: true;
}

export function defineTrain(program: Command): void {
  const command = withConfiguration(
    program
      .command('train')
      .description('train as a configuration says; the run directory holds everything that comes of it'),
  )
    .option('--resume', 'go on from the last checkpoint in the output directory')
    .option('--continue', 'begin, or go on where the run has begun: for what starts a command again after a failure')
    .option(
      '--processes <number>',
      'train with so many processes on this machine, on GPUs one for each (docs/distributed.md)',
      wholeNumber(1),
    )
    .option(
      '--from <step>',
      'go back to the checkpoint of that step, with changes; what came after it is kept in branches/',
      wholeNumber(1),
    )
    .option('--changed-data', 'going on: although the data or the base model is not what it was')
    .option('--studio', 'open the studio beside the training; it ends with it')
    .option('--skip-bad', 'train on the samples that can be used, and list those that cannot')
    .option('--unplanned', 'start although the plan says that memory or disk will not do')
    .option('--profile-steps <number>', 'how many steps, after the first (default: 2)', wholeNumber(1));
  const profile = new Option(
    '--profile [file.json]',
    'record some steps for chrome://tracing or Perfetto (default: trace.json in the output directory)',
  );
  withMade(command, profile);
  withKeyHints(withJson(withCompute(command, false))).action(
    async (first: string | undefined, others: readonly string[], given: TrainOptions) => {
      const { json, resume: goesOn = false, from, changedData = false, skipBad = false, unplanned = false } = given;
      const asked = givenOf(first, others, given, command);
      const flags = [
        ...[skipBad && '--skip-bad', unplanned && '--unplanned'],
        given.processes !== undefined && `--processes ${given.processes}`,
      ].filter((each) => each !== false);
      const line = [PROGRAM, 'train', typed(asked), ...flags].join(' ');
      const next = (isBegun: boolean): string => (isBegun ? `To go on: ${line} --resume` : `To start again: ${line}`);
      if (given.processes !== undefined && !isLaunched()) {
        if (isRank())
          command.error(
            'error: --processes starts ranks, and this is one: RANK is set (unset RANK, or leave --processes out)',
          );
        const most = Math.max(MOST_PROCESSES, availableParallelism());
        if (given.processes > most) {
          const why = `this machine has ${availableParallelism()} processors, and takes ${most} processes at most`;
          command.error(`error: --processes ${given.processes}: ${why}`);
        }
        if (given.processes > 1) return await launchRanks(given.processes, next(goesOn || from !== undefined));
      }
      const { deviceIn, isBegun, isRestarted, runDirectory, train, worldOf } = await import('@visurf/core');
      const world = worldOf();
      const { orDecline, join } = othersIn(world);
      if (isLaunched()) endWithLauncher();
      const isMain = (world?.rank ?? 0) === 0;
      const profile = isMain ? profileOf(given, command) : undefined;
      const warnings: string[] = [];
      const config = await orDecline(() => configurationOf(asked, (message) => warnings.push(message)));
      const directory = runDirectory(config.output);
      const resume = goesOn || (from === undefined && (given.continue ?? isRestarted()) ? ('ifBegun' as const) : false);
      const resumes = goesOn || from !== undefined || (resume === 'ifBegun' && isBegun(directory));
      const sayNext = (isBegun: boolean): void => {
        if (!isMain) return;
        whenStopped(next(isBegun));
        tellLauncher({ next: next(isBegun) });
      };
      sayNext(resumes);
      const log = world && new RankLog(directory, world.rank, world.size);
      const shown = [...(isMain ? [process.stderr] : []), ...(log ? [log] : [])].map((each) => new Shown(config, each));
      const onEvent = (event: TrainEvent) => {
        if (event.kind === 'step') sayNext(true);
        for (const each of shown) each.take(event);
      };
      using _studio = given.studio && isMain ? openStudio(config.output) : undefined;
      const options = {
        resume,
        from,
        changedData,
        skipBad,
        unplanned,
        profile,
        onEvent,
        warnings,
        command: commandLine(),
      };
      const result = await interruptible(async (signal) => {
        if (!world) return await train(config, { ...options, signal });
        const device = await orDecline(() => deviceIn(world, config.device));
        await using processes = await join(config.distributed.timeout, device);
        return await train(config, { ...options, signal, device, processes });
      }).catch((error: unknown) => {
        log?.write(`error: ${error instanceof Error ? error.message : String(error)}\n`);
        throw error;
      });
      for (const each of shown) each.finish();
      const { interrupted, ...summary } = result;
      if (interrupted) process.exitCode = INTERRUPTED;
      if (!isMain) return;
      if (json) printJson(summary);
      else {
        const [{ report } = { report: undefined }] = shown;
        const where = report === undefined ? '' : `; open ${report} in a browser`;
        const metrics = Object.keys(result.metrics).length > 0 ? `${metricsTable(result.metrics)}\n\n` : '';
        print(`${metrics}${result.steps} steps; the run is in ${result.run}${where}`);
      }
      if (result.unsent) {
        console.error(unsentText(result.run, result.unsent, `${line} --resume`));
        if (!interrupted) process.exitCode = UNSENT;
      }
      if (interrupted) console.error(`stopped. ${next(result.steps > 0 || resumes)}`);
    },
  );
  example(
    command,
    'visurf train config.yaml',
    'visurf train config.yaml paradigm=rlvr output=runs/rlvr',
    'visurf train data.train=train.jsonl data.validation=10% model=DIR',
    'visurf train config.yaml --resume',
    'visurf train config.yaml --from 200 optimizer.learningRate=2e-7',
    'visurf train config.yaml steps=3 output=runs/profile --profile',
  );
}

/** The exit code of a training that is done, but whose run is not whole in its store. */
const UNSENT = 3;

function unsentText(run: string, { directory, files }: NonNullable<TrainResult['unsent']>, again: string): string {
  const some = files.slice(0, 5).join(', ');
  const others = files.length > 5 ? ` and ${files.length - 5} more` : '';
  return `not sent to ${run}: ${some}${others}\n  All of it is in ${directory}. To send the rest: ${again}`;
}

/** The studio over a run, in a process of its own; its link is printed where messages are. */
function openStudio(output: string): Disposable {
  const parent = /^s3:/i.test(output) ? output : dirname(output);
  if (parent !== output) mkdirSync(parent, { recursive: true });
  const child = spawn(process.execPath, [process.argv[1]!, 'studio', parent, '--port', '0'], {
    stdio: ['ignore', process.stderr.fd, 'pipe'],
  });
  const { stderr } = child;
  stderr?.pipe(process.stderr);
  const end = (): void => {
    // It is ended by us: what it would say of that is no word to the user.
    stderr?.unpipe(process.stderr).destroy();
    child.kill('SIGTERM');
  };
  return { [Symbol.dispose]: end };
}

/** As it was typed; of places on this machine only what lies below the working directory. */
function commandLine(): string {
  const parts = process.argv.slice(2).map((each) =>
    each.replace(/^([^=/]*=)?\/.*$/, (whole, key: string | undefined) => {
      const place = relative(process.cwd(), whole.slice(key?.length ?? 0));
      return `${key ?? ''}${place.startsWith('..') ? basename(place) : place}`;
    }),
  );
  return ['visurf', ...parts].join(' ');
}

/** What is to be profiled. A file that is no .json would be a configuration or a change to it, written over. */
function profileOf({ profile, profileSteps: steps }: TrainOptions, command: Command): ProfileOptions | undefined {
  if (profile === undefined) {
    if (steps !== undefined) command.error('error: --profile-steps goes with --profile');
    return undefined;
  }
  if (profile === true) return { steps };
  if (!profile.endsWith('.json')) {
    command.error(`error: --profile writes a .json file, not ${profile}; without a file, put it last: --profile`);
  }
  return { file: profile, steps };
}

/** Shows events: what comes before the first step as stages, then the training. */
class Shown {
  readonly #progress: Progress;
  readonly #screen: TrainingScreen;
  #toSend = 0;
  /** The file. */
  report: string | undefined;

  constructor({ promptsPerStep, eval: { every } }: Config, screen: Screen) {
    this.#progress = new Progress(screen);
    this.#screen = new TrainingScreen({ promptsPerStep, every }, screen);
  }

  take(event: TrainEvent): void {
    const say = (text: string): void => this.#screen.message(text);
    switch (event.kind) {
      case 'prepare':
        return this.#progress.update(`checking ${event.what}`, event.done, event.total);
      case 'download':
        return this.#progress.download(event.progress);
      case 'sending':
        return this.#send(event.left);
      case 'checkpoint':
        return say(`step ${event.step}: checkpoint in ${event.path}`);
      case 'report':
        this.report = event.path;
        return;
      case 'stopped':
        return say(`ended at step ${event.step}: ${event.message}`);
      case 'profile': {
        const { path, steps, missing } = event;
        const left = missing > 0 ? `; ${missing} operators had no room` : '';
        return say(`profile of ${steps} step${steps === 1 ? '' : 's'} in ${path}${left}`);
      }
      case 'warning':
        this.#progress.finish();
        return say(`${coloured('yellow', 'warning:')} ${event.message}`);
      case 'eval':
      case 'pace':
      case 'progress':
      case 'step':
        this.#progress.finish();
        return this.#screen.take(event);
    }
  }

  /** The most is what there was first. */
  #send(left: number): void {
    if (this.#toSend === 0) this.#screen.finish();
    this.#toSend = Math.max(this.#toSend, left);
    this.#progress.update('sending files to the store', this.#toSend - left, this.#toSend);
  }

  finish(): void {
    this.#progress.finish();
    this.#screen.finish();
  }
}
