/**
 * Whether processes that train together were started for the same run. One that has another configuration, other data or
 * another base makes its share of every step all the same, and nobody would see it in the numbers.
 */
import { isDeepStrictEqual } from 'node:util';

import { changedKeys } from '../config/changed.ts';
import type { Config } from '../config/schema.ts';
import { explainProcesses } from '../distributed/join.ts';
import type { Processes } from '../distributed/processes.ts';
import { UserError } from '../errors.ts';
import type { ModelPrint } from '../question/model-print.ts';
import type { DataPrints } from '../question/resume.ts';
import type { Settings } from '../question/settings.ts';
import type { Environment } from '../run/environment.ts';

const remedy =
  'Start all of them with the same command and the same files; where that is so, another training meets at the same ' +
  'address: choose another MASTER_PORT.';

/** What may differ from machine to machine: where and how long something is done, and not what. */
const OWN =
  /^(device|threads|distributed\.timeout|reward\.(seconds|retries|processes)|rollout\.(server\w+|timeout|concurrent))$/;
/** Differences that are named. */
const NAMED = 3;

/** How a process was started. */
export interface Asked {
  readonly config: Config;
  /** Options that all have to be given. */
  readonly flags: Readonly<Record<string, unknown>>;
}

/** @throws UserError, in all of them, where one was started with another configuration than the first */
export async function requireSameStart(processes: Processes, own: Asked): Promise<void> {
  const [first, ...others] = await all(processes, own);
  for (const [i, other] of others.entries()) {
    const keys = changedKeys(first!.config, other.config).filter(({ key }) => !OWN.test(key));
    const outputs = [first!.config.output, other.config.output];
    const differing = [
      ...keys.map(({ key, before, after }) => `${key} is ${after ?? 'not there'}, and not ${before ?? 'left out'}`),
      ...(outputs[0] === outputs[1] ? [] : [`output is ${outputs[1]}, and not ${outputs[0]}`]),
      ...Object.keys(first!.flags).flatMap((name) => {
        const [before, after] = [first!.flags[name], other.flags[name]];
        return before === after ? [] : [`--${name} is ${String(after)}, and not ${String(before)}`];
      }),
    ];
    if (differing.length === 0) continue;
    const more = differing.length > NAMED ? `, and ${differing.length - NAMED} more` : '';
    throw new UserError(`rank ${i + 1} was not started as rank 0 was: ${differing.slice(0, NAMED).join('; ')}${more}`, {
      remedy,
    });
  }
}

/** What a process has read. */
export interface Read {
  readonly data: DataPrints;
  readonly model: ModelPrint;
  readonly settings: Pick<Settings, 'plugins' | 'rewards'>;
  readonly environment: Environment;
}

/**
 * @returns a warning for each process whose libraries are others, which may change the last bits
 * @throws UserError, in all of them, where one has other data, another model or other plugins than the first
 */
export async function requireSameFiles(processes: Processes, read: Read): Promise<string[]> {
  const { data, settings, model } = read;
  const prints = {
    'training data': [data.train].flat().map(({ sha256 }) => sha256),
    'validation data': data.validation?.sha256,
    model,
    plugins: settings.plugins.map(({ name, sha256 }) => [name, sha256]),
    rewards: settings.rewards.map(({ name, weight, sha256 }) => [name, weight, sha256]),
  };
  const { node, version } = read.environment;
  const own = { prints, libraries: `Node.js ${node} and libtorch ${version}` };
  const [first, ...others] = await all(processes, own);
  for (const [i, other] of others.entries()) {
    const names = (Object.keys(prints) as (keyof typeof prints)[]).filter(
      (name) => !isDeepStrictEqual(other.prints[name], first!.prints[name]),
    );
    if (names.length > 0)
      throw new UserError(`rank ${i + 1} has not the same ${names.join(' and ')} as rank 0`, { remedy });
  }
  return others.flatMap(({ libraries }, i) =>
    libraries === first!.libraries
      ? []
      : [`rank ${i + 1} has ${libraries}, rank 0 ${first!.libraries}: numbers may differ in the last bits`],
  );
}

async function all<T>(processes: Processes, own: T): Promise<T[]> {
  try {
    return await processes.gather(own);
  } catch (error) {
    throw explainProcesses(error);
  }
}
