/**
 * Which of the processes of a training this one is, as launchers say it: RANK, WORLD_SIZE, MASTER_ADDR, MASTER_PORT, and
 * LOCAL_RANK, LOCAL_WORLD_SIZE of the processes on this machine (torchrun, PyTorchJob, `--processes`; for Slurm
 * docs/distributed.md).
 */
import { UserError } from './errors.ts';

export interface World {
  /** From 0; rank 0 writes the run. */
  readonly rank: number;
  /** Of all machines. */
  readonly size: number;
  /** From 0, on this machine; undefined where the launcher does not say. */
  readonly localRank: number | undefined;
  readonly localSize: number | undefined;
  /** Where rank 0 listens. */
  readonly address: string;
  readonly port: number;
}

const NEEDED = ['RANK', 'WORLD_SIZE', 'MASTER_ADDR', 'MASTER_PORT'] as const;
const remedy = `Set all of ${NEEDED.join(', ')} (docs/distributed.md), or none for one process.`;

/** More processes have never trained together; c10d counts them in 32 bits. */
const MOST = 65_536;

type Environment = Readonly<Record<string, string | undefined>>;

/**
 * The world of this process; undefined where it is alone.
 * @throws UserError for half an environment, or one that makes no sense
 */
export function worldOf(environment: Environment = process.env): World | undefined {
  const given = NEEDED.filter((name) => isSet(environment, name));
  if (given.length === 0) return undefined;
  const missing = NEEDED.filter((name) => !given.includes(name));
  if (missing.length > 0) {
    throw new UserError(`${listed(given)} ${given.length > 1 ? 'are' : 'is'} set, but ${listed(missing)} not`, {
      where: 'environment',
      remedy,
    });
  }
  const size = wholeOf(environment, 'WORLD_SIZE', 1, MOST);
  const rank = wholeOf(environment, 'RANK', 0, size - 1, `WORLD_SIZE is ${size}`);
  const local = (name: string, ...range: [number, number, string]): number | undefined =>
    isSet(environment, name) ? wholeOf(environment, name, ...range) : undefined;
  const localSize = local('LOCAL_WORLD_SIZE', 1, size, `WORLD_SIZE is ${size}`);
  const localRank = local('LOCAL_RANK', 0, (localSize ?? size) - 1, `of ${localSize ?? size} processes`);
  return {
    ...{ rank, size, localRank, localSize },
    ...{ address: environment.MASTER_ADDR!.trim(), port: wholeOf(environment, 'MASTER_PORT', 1, 65_535) },
  };
}

const isSet = (environment: Environment, name: string): boolean => (environment[name] ?? '').trim() !== '';

const listed = (names: readonly string[]): string => names.join(', ').replace(/, ([^,]*)$/, ' and $1');

function wholeOf(environment: Environment, name: string, least: number, most: number, why = ''): number {
  const text = environment[name]!.trim();
  const value = Number(text);
  if (/^\d+$/.test(text) && value >= least && value <= most) return value;
  throw new UserError(
    `${name} is ${JSON.stringify(text)}: it is a whole number from ${least} to ${most}${why && ` (${why})`}`,
    {
      where: 'environment',
      remedy,
    },
  );
}

/** Whether what started this process starts it again after a failure, and has: the run then goes on. */
export const isRestarted = (environment: Environment = process.env): boolean =>
  ['TORCHELASTIC_RESTART_COUNT', 'SLURM_RESTART_COUNT'].some((name) => Number(environment[name] ?? 0) > 0);

/** Of torchrun: it hosts the store that processes meet in, and says which try this is. */
export const launchedBy = (environment: Environment = process.env): { isHosted: boolean; attempt: number } => ({
  isHosted: environment.TORCHELASTIC_USE_AGENT_STORE === 'True',
  attempt: Number(environment.TORCHELASTIC_RESTART_COUNT ?? 0) || 0,
});
