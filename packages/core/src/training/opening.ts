/** The run of a training, from before it is there: begun anew, or gone on with where it may be. */
import { existsSync } from 'node:fs';

import type { Config } from '../config/schema.ts';
import { byFirst, type Processes } from '../distributed/processes.ts';
import { UserError } from '../errors.ts';
import type { Experiment } from '../question/experiment.ts';
import { requireSameModel, type ModelPrint } from '../question/model-print.ts';
import { changesOfRewards, requireSameData } from '../question/resume.ts';
import { readSettings } from '../question/settings.ts';
import type { Checkpoint } from '../run/checkpoint.ts';
import type { Environment } from '../run/environment.ts';
import type { Origin } from '../run/events.ts';
import { Run, runOfOthers, type RunRecord } from '../run/run.ts';
import type { Progress } from './types.ts';

/** What a run writes down of itself. */
interface Facts {
  readonly config: Config;
  readonly environment: Environment;
  readonly origin: Origin;
}

/** What a run goes on with, which a checkpoint is compared with. */
interface Continued {
  readonly from: number | undefined;
  readonly changedData: boolean | undefined;
  readonly experiment: Experiment;
  readonly adapter: string | undefined;
  readonly modelPrint: ModelPrint;
  readonly data: Omit<Parameters<typeof requireSameData>[1], 'config'>;
  /** As it was asked for. */
  readonly model: string;
}

export class Opening {
  readonly #processes: Processes;
  readonly #onWarning: (message: string) => void;
  /** Warnings that come before there is a run, which are logged when it is there. */
  readonly #held: string[] = [];
  #run: Run | undefined;
  #step = 0;

  constructor(processes: Processes, onWarning: (message: string) => void) {
    [this.#processes, this.#onWarning] = [processes, onWarning];
  }

  readonly warn = (message: string): void => {
    this.#onWarning(message);
    if (this.#run) this.#run.log({ type: 'warning', step: this.#step, message });
    else this.#held.push(message);
  };

  /**
   * Goes on with a run.
   * @returns undefined where it died before its first checkpoint
   * @throws UserError where it cannot go on with these data, this model or this configuration
   */
  async resume(facts: Facts, continued: Continued): Promise<Checkpoint | undefined> {
    const checkpoint = await byFirst(this.#processes, () => this.#resume(facts, continued));
    if (checkpoint && !existsSync(checkpoint.directory)) {
      throw new UserError(`process ${this.#processes.rank} does not find the checkpoint that the run goes on from`, {
        where: checkpoint.directory,
        remedy: 'The run directory is to be on a disk that all machines share.',
      });
    }
    return checkpoint;
  }

  async #resume({ config, environment, origin }: Facts, continued: Continued): Promise<Checkpoint | undefined> {
    const { from, changedData, experiment, adapter, modelPrint, data, model } = continued;
    const changes: string[] = [];
    const needsWeights =
      config.train.lora !== undefined || adapter !== undefined || config.objective.kl.coefficient > 0;
    const check = ({ directory, state }: Checkpoint): void => {
      const before = readSettings(directory);
      if (before) changes.push(...changesOfRewards(before, experiment.settings, config.output));
      if (changedData) return;
      const saved = state as Progress;
      requireSameData(saved.data, { ...data, config });
      requireSameModel(saved.model, modelPrint, { model, needsWeights });
    };
    const { run, checkpoint, warnings } = await Run.resume(config.output, config, environment, { check, from, origin });
    this.#take(run, checkpoint?.step ?? 0);
    [...warnings, ...changes].forEach(this.warn);
    return checkpoint;
  }

  /** The run that is gone on with, or a new one, which the first process writes. */
  begin({ config, environment, origin }: Facts): RunRecord {
    if (this.#processes.rank > 0) return runOfOthers(config.output);
    return this.#run ?? this.#take(Run.start(config.output, config, environment, origin), 0);
  }

  close(): void {
    this.#run?.close();
  }

  #take(run: Run, step: number): Run {
    [this.#run, this.#step] = [run, step];
    for (const message of this.#held) run.log({ type: 'warning', step, message });
    return run;
  }
}
