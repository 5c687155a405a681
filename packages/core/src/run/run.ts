/**
 * A run is a directory that explains itself:
 *
 *     config.yaml · events.jsonl · samples.jsonl · images/HASH.webp · groups/NNNNNN.jsonl · evaluations/NNNNNN.jsonl
 *     checkpoints/NNNNNN/ · best -> checkpoints/NNNNNN · lock.NAME
 *
 * Whenever the process dies, `Run.resume` finds the last whole checkpoint, cuts the logs back to it, and the run goes on as
 * if nothing had happened. What it goes back over on purpose is kept in `branches/N` (course.ts).
 */
import { randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { configHash } from '../config/changed.ts';
import { configToYaml, loadConfig } from '../config/load.ts';
import type { Config } from '../config/schema.ts';
import { fileError, UserError } from '../errors.ts';
import { refuseChanges, sayChanges } from './changes.ts';
import {
  checkpointSteps,
  putBackReplaced,
  removeCheckpoint,
  stepName,
  writeCheckpoint,
  type Best,
  type Checkpoint,
  type CheckpointContent,
} from './checkpoint.ts';
import type { BY_STEP } from './course.ts';
import {
  bestOf,
  checkpointAt,
  cutBack,
  EVENTS,
  isBegun,
  keepCourse,
  latestCheckpoint,
  pointTo,
  requireEmpty,
  requireLogs,
  requireNothingToLose,
  SAMPLES,
  setAside,
} from './course.ts';
import { AppendOnly, makeDirectory, removeQuietly, replaceFile, sync, writeAside } from '../disk/durable.ts';
import { environmentChanges, type Environment } from './environment.ts';
import { FORMAT, readEvents, type NewEvent, type Origin } from './events.ts';
import type { GroupRecord } from './groups.ts';
import { lockRun, type Lock } from '../disk/lock.ts';
import { SampleLog, type ImageRecord, type SampleRecord } from './samples.ts';

export interface Resumed {
  readonly run: Run;
  /** Undefined where the run died before its first checkpoint: it begins anew. */
  readonly checkpoint: Checkpoint | undefined;
  /** Damaged checkpoints that were passed over, changes of the configuration and of the machine. */
  readonly warnings: readonly string[];
}

export interface ResumeOptions {
  /** Looks at the checkpoint before anything is changed, and throws where the run cannot go on from it. */
  readonly check?: (checkpoint: Checkpoint) => void;
  /** Go back to the checkpoint of this step, and take another course: keys may change that others depend on. */
  readonly from?: number | undefined;
  /** Where the run comes from, for its `resume` event. */
  readonly origin?: Origin;
}

/** What a training leaves behind as it goes on. */
export interface RunRecord {
  readonly directory: string;
  readonly best: Best | undefined;
  log(event: NewEvent): void;
  sampleLog(images: ImageRecord): Pick<SampleLog, 'add'>;
  writeGroups(step: number, groups: readonly GroupRecord[]): void;
  write(folder: StepFolder, step: number, lines: readonly object[]): void;
  saveCheckpoint(
    step: number,
    content: CheckpointContent,
    score?: { readonly metric: string; readonly value: number },
  ): Promise<string>;
}

/** The run for a process that trains with others, of which the first writes it. */
export const runOfOthers = (directory: string): RunRecord => ({
  directory,
  best: undefined,
  log: () => undefined,
  sampleLog: () => ({ add: () => Promise.resolve() }),
  writeGroups: () => undefined,
  write: () => undefined,
  saveCheckpoint: (step) => Promise.resolve(path.join(directory, 'checkpoints', stepName(step))),
});

/** Facts that all checkpoints of a run share, and what is to be closed. */
interface Opened {
  readonly directory: string;
  readonly config: Config;
  readonly environment: Environment;
  readonly lock: Lock;
  readonly best?: Best | undefined;
}

/** Files that a step has, by the folder that they are in. */
type StepFolder = (typeof BY_STEP)[number];

export class Run implements RunRecord {
  readonly directory: string;
  readonly #config: Config;
  readonly #environment: Environment;
  readonly #lock: Lock;
  readonly #events: AppendOnly;
  #samples: AppendOnly | undefined;
  /** Files that may not be on the disk yet. */
  readonly #unsynced = new Set<string>();
  #bestSoFar: Best | undefined;

  /**
   * Begins a run in an empty or new directory, or in place of one that failed before its first step.
   * @throws UserError where there is one already
   */
  static start(directory: string, config: Config, environment: Environment, origin: Origin = {}): Run {
    requireEmpty(directory);
    try {
      makeDirectory(directory);
    } catch (error) {
      throw fileError(error, { where: directory, remedy: 'Choose another output.' });
    }
    sync(path.dirname(directory));
    const lock = lockRun(directory);
    try {
      // Another process may have begun one just now.
      requireEmpty(directory);
      requireLogs(directory);
      cutBack(directory, undefined);
      // Before the configuration: one without a log is its user's own.
      new AppendOnly(path.join(directory, EVENTS)).close();
      replaceFile(path.join(directory, 'config.yaml'), configToYaml(config, directory));
      const run = new Run({ directory, config, environment, lock });
      run.log({ type: 'start', step: 0, format: FORMAT, configHash: configHash(config), environment, ...origin });
      return run;
    } catch (error) {
      lock.release();
      throw error;
    }
  }

  /**
   * Goes on with a run that was stopped or killed.
   * @throws UserError where there is none, it is in use, or the configuration is another
   */
  static async resume(
    directory: string,
    config: Config,
    environment: Environment,
    { check, from, origin = {} }: ResumeOptions = {},
  ): Promise<Resumed> {
    const written = path.join(directory, 'config.yaml');
    const folder = path.join(directory, 'checkpoints');
    if (!isBegun(directory)) throw noRun(directory, folder);
    const before = loadConfig(written, [], { plugins: false });
    refuseChanges(before, config, { directory, mayTurn: from !== undefined });
    requireLogs(directory);
    const lock = lockRun(directory);
    try {
      putBackReplaced(folder);
      const { checkpoint, warnings } =
        from === undefined
          ? await latestCheckpoint(folder)
          : { checkpoint: await checkpointAt(folder, from), warnings: [] };
      const log = path.join(directory, EVENTS);
      const events = existsSync(log) ? readEvents(log, (message) => warnings.push(message)) : [];
      if (checkpoint) check?.(checkpoint);
      else requireNothingToLose(directory, events);
      const step = checkpoint?.step ?? 0;
      const kept = from === undefined && checkpoint ? undefined : keepCourse(directory, step);
      if (kept !== undefined) warnings.push(`what the run did after step ${step} is kept in ${kept}`);
      setAside(directory, step);
      warnings.push(...cutBack(directory, checkpoint));
      const best = bestOf(directory, checkpoint);
      pointTo(directory, 'best', best?.step);
      pointTo(directory, 'last', checkpoint?.step);
      replaceFile(written, configToYaml(config, directory));
      const run = new Run({ directory, config, environment, lock, best });
      run.#prune(folder);
      if (checkpoint) {
        warnings.push(...sayChanges(before, config, step));
        warnings.push(...environmentChanges(checkpoint.manifest.environment, environment));
      }
      const branch = kept === undefined ? {} : { branch: kept };
      run.log({
        ...{ type: 'resume', step, format: FORMAT, configHash: configHash(config), environment },
        ...{ ...origin, ...branch },
      });
      return { run, checkpoint, warnings };
    } catch (error) {
      lock.release();
      throw error;
    }
  }

  private constructor({ directory, config, environment, lock, best }: Opened) {
    this.directory = directory;
    this.#config = config;
    this.#environment = environment;
    this.#lock = lock;
    this.#bestSoFar = best;
    mkdirSync(path.join(directory, 'groups'), { recursive: true });
    this.#events = new AppendOnly(path.join(directory, EVENTS));
    if (existsSync(path.join(directory, SAMPLES))) this.#samples = new AppendOnly(path.join(directory, SAMPLES));
  }

  get best(): Best | undefined {
    return this.#bestSoFar;
  }

  /** @throws UserError, as all that writes, where another process has taken the run over: it writes the same files */
  log(event: NewEvent): void {
    this.#lock.check();
    this.#events.append({ time: Date.now(), ...event });
  }

  /** What was asked in this run, where it is kept. */
  sampleLog(images: ImageRecord): SampleLog {
    const place = {
      directory: this.directory,
      append: (record: SampleRecord) => {
        this.#lock.check();
        this.#samples ??= new AppendOnly(path.join(this.directory, SAMPLES));
        this.#samples.append(record);
      },
      wrote: (file: string) => void this.#unsynced.add(file).add(path.dirname(file)),
    };
    return new SampleLog(place, images);
  }

  writeGroups(step: number, groups: readonly GroupRecord[]): void {
    this.write('groups', step, groups);
  }

  /** Writes a file of lines: whole at once for its readers, and on the disk with the next checkpoint. */
  write(folder: StepFolder, step: number, lines: readonly object[]): void {
    this.#lock.check();
    const file = path.join(this.directory, folder, `${stepName(step)}.jsonl`);
    if (!existsSync(path.dirname(file))) mkdirSync(path.dirname(file));
    writeAside(file, lines.map((line) => `${JSON.stringify(line)}\n`).join(''));
    this.#unsynced.add(file).add(path.dirname(file));
  }

  /**
   * Call after the events of the step were logged: what is logged later is cut off on resume. `score` makes this the best
   * checkpoint where no earlier one has a higher value.
   * @throws UserError where it cannot be written; it then lies elsewhere if there is any room, and the message says where
   */
  async saveCheckpoint(
    step: number,
    content: CheckpointContent,
    score?: { readonly metric: string; readonly value: number },
  ): Promise<string> {
    const started = performance.now();
    if (score && !(this.#bestSoFar && this.#bestSoFar.value >= score.value)) this.#bestSoFar = { step, ...score };
    const folder = path.join(this.directory, 'checkpoints');
    const facts = {
      step,
      configHash: configHash(this.#config),
      environment: this.#environment,
      logs: { [EVENTS]: this.#events.size, ...(this.#samples && { [SAMPLES]: this.#samples.size }) },
      best: this.#bestSoFar,
    };
    let directory: string;
    try {
      // Elsewhere than in a folder that is made anew where the run was.
      statSync(path.join(this.directory, 'config.yaml'));
      this.#lock.check();
      this.#events.sync();
      this.#samples?.sync();
      for (const file of this.#unsynced) sync(file);
      this.#unsynced.clear();
      directory = await writeCheckpoint(folder, content, facts);
      pointTo(this.directory, 'best', this.#bestSoFar?.step);
      pointTo(this.directory, 'last', step);
      this.#prune(folder);
    } catch (error) {
      throw await this.#rescued(error, step, content, facts);
    }
    this.log({ type: 'checkpoint', step, seconds: (performance.now() - started) / 1000 });
    return directory;
  }

  close(): void {
    try {
      this.#events.sync();
      this.#samples?.sync();
    } finally {
      this.#events.close();
      this.#samples?.close();
      this.#lock.release();
    }
  }

  /** Writes a checkpoint that has no place in the run to another disk. @returns what to throw */
  async #rescued(
    cause: unknown,
    step: number,
    content: CheckpointContent,
    facts: Parameters<typeof writeCheckpoint>[2],
  ): Promise<unknown> {
    const fault = fileError(cause);
    if (!(fault instanceof UserError) || fault === cause) return cause;
    const { directory } = this;
    // Runs of the same name may fill the same disk at once.
    const own = randomBytes(4).toString('hex');
    const elsewhere = path.join(tmpdir(), `visurf-${path.basename(directory)}-rescued-${own}`);
    try {
      mkdirSync(elsewhere, { mode: 0o700 });
      const saved = await writeCheckpoint(elsewhere, content, facts);
      return new UserError(`step ${step} could not be saved: ${fault.reason}`, {
        where: directory,
        remedy:
          `It was saved as ${saved}. Mend the disk, move that to ${path.join(directory, 'checkpoints')}, and resume ` +
          'the run.',
        cause,
      });
    } catch {
      removeQuietly(elsewhere);
      return cause;
    }
  }

  #prune(folder: string): void {
    const old = checkpointSteps(folder).slice(0, -this.#config.checkpoint.keep);
    for (const step of old) if (step !== this.#bestSoFar?.step) removeCheckpoint(folder, step);
  }
}

function noRun(directory: string, folder: string): UserError {
  const steps = checkpointSteps(folder);
  if (steps.length === 0) {
    return new UserError('there is no run to resume', { where: directory, remedy: 'Start it without resuming.' });
  }
  return new UserError(`the run has lost its config.yaml; it has checkpoints of steps ${steps.join(', ')}`, {
    where: directory,
    remedy: 'Put back a configuration as config.yaml that says what the run was started with, and resume.',
  });
}
