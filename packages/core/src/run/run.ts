/**
 * A run is a directory that explains itself:
 *
 *     config.yaml · events.jsonl · groups/NNNNNN.jsonl · checkpoints/NNNNNN/ · best -> checkpoints/NNNNNN · lock
 *
 * Whenever the process dies, `Run.resume` finds the last whole checkpoint, cuts the logs back to it, and the run goes on as
 * if nothing had happened.
 */
import {
  existsSync,
  mkdirSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import path from 'node:path';
import { leafOf } from '../config/keys.ts';
import { changedKeys, configHash, configToYaml, loadConfig } from '../config/load.ts';
import type { Config } from '../config/schema.ts';
import { fileError, hasCode, UserError } from '../errors.ts';
import {
  checkpointSteps,
  readCheckpoint,
  removeCheckpoint,
  removeLeftovers,
  stepName,
  writeCheckpoint,
  type Best,
  type Checkpoint,
  type CheckpointContent,
} from './checkpoint.ts';
import { AppendOnly, assertCreatable, makeDirectory, replaceFile, sync } from '../disk/durable.ts';
import { environmentChanges, type Environment } from './environment.ts';
import { readEvents, type NewEvent, type RunEvent } from './events.ts';
import type { GroupRecord } from './groups.ts';
import { lockRun } from '../disk/lock.ts';

export interface Resumed {
  readonly run: Run;
  /** Undefined where the run died before its first checkpoint: it begins anew. */
  readonly checkpoint: Checkpoint | undefined;
  /** Damaged checkpoints that were passed over, and changes of the machine. */
  readonly warnings: readonly string[];
}

const EVENTS = 'events.jsonl';

export class Run {
  readonly directory: string;
  readonly #config: Config;
  readonly #environment: Environment;
  readonly #release: () => void;
  readonly #events: AppendOnly;
  #bestSoFar: Best | undefined;

  /**
   * Begins a run in an empty or new directory, or in place of one that failed before its first checkpoint.
   * @throws UserError where there is one already
   */
  static start(directory: string, config: Config, environment: Environment): Run {
    requireEmpty(directory);
    try {
      makeDirectory(directory);
    } catch (error) {
      throw fileError(error, { where: directory, remedy: 'Choose another output.' });
    }
    const release = lockRun(directory);
    cutBack(directory, undefined);
    replaceFile(path.join(directory, 'config.yaml'), configToYaml(config));
    const run = new Run(directory, config, environment, release, undefined);
    run.log({ type: 'start', step: 0, configHash: configHash(config), environment });
    return run;
  }

  /**
   * Goes on with a run that was stopped or killed.
   * @param check looks at the checkpoint before anything is changed, and throws where the run cannot go on from it
   * @throws UserError where there is none, it is in use, or the configuration is another
   */
  static async resume(
    directory: string,
    config: Config,
    environment: Environment,
    check: (checkpoint: Checkpoint) => void = () => undefined,
  ): Promise<Resumed> {
    const written = path.join(directory, 'config.yaml');
    if (!existsSync(written)) {
      throw new UserError('there is no run to resume', { where: directory, remedy: 'Start it without resuming.' });
    }
    const changed = changedKeys(loadConfig(written), config);
    if (changed.length > 0) {
      const fixed = changed.filter((key) => leafOf(key)?.effect === 'breaks');
      throw new UserError(`the configuration differs from that of the run in: ${changed.join(', ')}`, {
        where: directory,
        remedy:
          fixed.length > 0
            ? `What the run saved does not fit another ${fixed.join(', ')}: start a run with another output.`
            : 'Resume with the same values, or start a run with another output.',
      });
    }
    const release = lockRun(directory);
    try {
      const { checkpoint, warnings } = await latestCheckpoint(path.join(directory, 'checkpoints'));
      const log = path.join(directory, EVENTS);
      const events = existsSync(log) ? readEvents(log, (message) => warnings.push(message)) : [];
      if (checkpoint) check(checkpoint);
      else requireNothingToLose(directory, events);
      setAside(directory, checkpoint?.step ?? 0);
      cutBack(directory, checkpoint);
      replaceFile(written, configToYaml(config));
      const run = new Run(directory, config, environment, release, checkpoint?.manifest.best);
      if (checkpoint) warnings.push(...environmentChanges(checkpoint.manifest.environment, environment));
      run.log({ type: 'resume', step: checkpoint?.step ?? 0, configHash: configHash(config), environment });
      return { run, checkpoint, warnings };
    } catch (error) {
      release();
      throw error;
    }
  }

  private constructor(
    directory: string,
    config: Config,
    environment: Environment,
    release: () => void,
    bestSoFar: Best | undefined,
  ) {
    this.directory = directory;
    this.#config = config;
    this.#environment = environment;
    this.#release = release;
    this.#bestSoFar = bestSoFar;
    mkdirSync(path.join(directory, 'groups'), { recursive: true });
    this.#events = new AppendOnly(path.join(directory, EVENTS));
  }

  get best(): Best | undefined {
    return this.#bestSoFar;
  }

  log(event: NewEvent): void {
    this.#events.append({ time: Date.now(), ...event });
  }

  writeGroups(step: number, groups: readonly GroupRecord[]): void {
    const text = groups.map((group) => `${JSON.stringify(group)}\n`).join('');
    writeFileSync(path.join(this.directory, 'groups', `${stepName(step)}.jsonl`), text);
  }

  /**
   * Call after the events of the step were logged: what is logged later is cut off on resume. `score` makes this the best
   * checkpoint where no earlier one has a higher value.
   */
  async saveCheckpoint(
    step: number,
    content: CheckpointContent,
    score?: { readonly metric: string; readonly value: number },
  ): Promise<string> {
    const started = performance.now();
    if (score && !(this.#bestSoFar && this.#bestSoFar.value >= score.value)) this.#bestSoFar = { step, ...score };
    this.#events.sync();
    const folder = path.join(this.directory, 'checkpoints');
    const directory = await writeCheckpoint(folder, content, {
      step,
      configHash: configHash(this.#config),
      environment: this.#environment,
      logs: { [EVENTS]: statSync(path.join(this.directory, EVENTS)).size },
      best: this.#bestSoFar,
    });
    pointToBest(this.directory, this.#bestSoFar);
    this.#prune(folder);
    this.log({ type: 'checkpoint', step, seconds: (performance.now() - started) / 1000 });
    return directory;
  }

  close(): void {
    try {
      this.#events.sync();
    } finally {
      this.#events.close();
      this.#release();
    }
  }

  #prune(folder: string): void {
    const old = checkpointSteps(folder).slice(0, -this.#config.checkpoint.keep);
    for (const step of old) if (step !== this.#bestSoFar?.step) removeCheckpoint(folder, step);
  }
}

/** @throws UserError where a directory cannot be made, or holds anything but a run that nothing can go on from */
export function requireEmpty(directory: string): void {
  const remedy = 'Choose another output.';
  try {
    assertCreatable(directory);
  } catch (error) {
    throw fileError(error, { where: directory, remedy });
  }
  if (!existsSync(directory)) return;
  // A process killed before it wrote the configuration leaves these.
  const entries = readdirSync(directory).filter((name) => name !== 'lock' && !name.endsWith('.tmp'));
  if (entries.length === 0) return;
  const isRun = entries.includes('config.yaml');
  if (isRun && hasFailedEarly(directory)) return;
  throw new UserError(isRun ? 'there already is a run here' : 'the directory is not empty', {
    where: directory,
    remedy: isRun ? 'Resume it (--resume), or choose another output.' : remedy,
  });
}

/** True for a run that ended with an error before its first checkpoint, or before its first step. */
function hasFailedEarly(directory: string): boolean {
  const file = path.join(directory, EVENTS);
  if (checkpointSteps(path.join(directory, 'checkpoints')).length > 0 || !existsSync(file)) return false;
  const last = readEvents(file).at(-1);
  return last?.type === 'end' && (last.reason === 'failed' || last.step === 0);
}

/** @throws UserError where there are checkpoints, but none is whole */
async function latestCheckpoint(folder: string): Promise<{ checkpoint: Checkpoint | undefined; warnings: string[] }> {
  const warnings: string[] = [];
  for (const step of checkpointSteps(folder).reverse()) {
    const found = await readCheckpoint(folder, step);
    if (!('fault' in found)) return { checkpoint: found, warnings };
    warnings.push(
      `checkpoint ${step} is damaged and was passed over: ${found.fault}; it is kept as damaged-${stepName(step)}`,
    );
  }
  if (warnings.length === 0) return { checkpoint: undefined, warnings };
  throw new UserError(`no checkpoint is whole:\n  ${warnings.join('\n  ')}`, {
    where: folder,
    remedy: 'Restore the files, or start a run with another output.',
  });
}

/**
 * A run that was killed before its first checkpoint begins anew. One that had checkpoints, which are gone, does not.
 * @throws UserError that says what would be lost
 */
function requireNothingToLose(directory: string, events: readonly RunEvent[]): void {
  const saved = events.findLast(({ type }) => type === 'checkpoint');
  if (!saved) return;
  throw new UserError(`there are no checkpoints any more: the logs of ${saved.step} steps would be lost`, {
    where: directory,
    remedy: 'Bring back the folder checkpoints, or start a run with another output.',
  });
}

/** Keeps damaged checkpoints under another name, so that nothing that could be mended is lost. */
function setAside(directory: string, step: number): void {
  const folder = path.join(directory, 'checkpoints');
  for (const later of checkpointSteps(folder).filter((each) => each > step)) {
    const aside = path.join(folder, `damaged-${stepName(later)}`);
    rmSync(aside, { recursive: true, force: true });
    renameSync(path.join(folder, stepName(later)), aside);
  }
}

/** Removes what the run wrote after a checkpoint (after its beginning, where there is none). */
function cutBack(directory: string, checkpoint: Checkpoint | undefined): void {
  const step = checkpoint?.step ?? 0;
  const folder = path.join(directory, 'checkpoints');
  removeLeftovers(folder);
  const groups = path.join(directory, 'groups');
  for (const name of existsSync(groups) ? readdirSync(groups) : []) {
    if (Number.parseInt(name, 10) > step) rmSync(path.join(groups, name));
  }
  for (const [name, bytes] of Object.entries(checkpoint?.manifest.logs ?? { [EVENTS]: 0 })) {
    const file = path.join(directory, name);
    if (existsSync(file) && statSync(file).size > bytes) truncateSync(file, bytes);
  }
  pointToBest(directory, checkpoint?.manifest.best);
}

/** `best` is a link, so it opens wherever a model directory does. */
function pointToBest(directory: string, best: Best | undefined): void {
  const link = path.join(directory, 'best');
  if (!best) {
    rmSync(link, { force: true });
    return;
  }
  const aside = `${link}.tmp`;
  rmSync(aside, { force: true });
  const target = path.join('checkpoints', stepName(best.step));
  try {
    symlinkSync(target, aside);
  } catch (error) {
    // A file that says the same, where the file system has no links.
    if (!['EPERM', 'ENOTSUP', 'ENOSYS', 'EOPNOTSUPP'].some((code) => hasCode(error, code))) throw error;
    writeFileSync(aside, `${target}\n`);
  }
  renameSync(aside, link);
  sync(directory);
}
