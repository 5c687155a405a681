/** One of several processes of a training (a rank), as the command line has it: what it logs, and what it tells its launcher. */
import { appendFileSync, existsSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import type { deviceIn, joinProcesses, World } from '@visurf/core';
import type { Screen } from './status.ts';

/** The variable that names the process of `--processes` (launch.ts) to its ranks. */
export const LAUNCHER = 'VISURF_LAUNCHER';

/** What a rank tells that process. */
export interface Told {
  /** That it fails with. */
  readonly error?: string;
  /** What is to be said where it ends before its time. */
  readonly next?: string;
}

/** Whether this process is a rank below `--processes`. */
export const isLaunched = (): boolean => process.send !== undefined && process.env[LAUNCHER] === String(process.ppid);

/** Whether something has started this process as one of several. */
export const isRank = (): boolean => (process.env.RANK ?? '') !== '';

/** Tells the launcher, where there is one. @returns whether what has to be said will be said there */
export function tellLauncher(told: Told): boolean {
  if (!isLaunched() || !process.connected) return false;
  process.send?.(told);
  return process.env.RANK !== '0';
}

/** A rank whose launcher is gone, however that ended, ends as it does by SIGTERM. */
export function endWithLauncher(): void {
  const end = (): void => void process.kill(process.pid, 'SIGTERM');
  if (!process.connected) return end();
  process.on('disconnect', end);
  process.channel?.unref();
}

type Device = ReturnType<typeof deviceIn>;

/** The other processes of a world. */
export function othersIn(world: World | undefined): {
  /** Does what comes before they meet. Where it fails they hear why, and do not wait for this one. */
  readonly orDecline: <T>(work: () => T | Promise<T>) => Promise<T>;
  /** Meets them; says so where that takes long. */
  readonly join: (timeout: number, device: Device) => ReturnType<typeof joinProcesses>;
} {
  const optionsOf = (timeout: number, device: Device) => {
    const { address: host, port, rank, size } = world!;
    return { rank, size, host, port, timeout, device };
  };
  return {
    orDecline: async (work) => {
      try {
        return await work();
      } catch (error) {
        const { declineProcesses, launchedBy } = await import('@visurf/core');
        if (world) await declineProcesses({ ...optionsOf(Infinity, 'cpu'), ...launchedBy() }, error);
        throw error;
      }
    },
    join: async (timeout, device) => {
      const { joinProcesses, launchedBy } = await import('@visurf/core');
      const options = optionsOf(timeout, device);
      const where = `at ${options.host}:${options.port}`;
      const onWait = (missing: readonly number[] | undefined): void => {
        if (missing && options.rank > 0) return;
        const who = missing ? `for ${listed(missing)}, ${where}` : `until rank 0 is reached ${where}`;
        console.error(`rank ${options.rank} waits ${who}: ${timeout} s at most`);
      };
      return await joinProcesses({ ...options, ...launchedBy(), onWait });
    },
  };
}

/** Ranks that are named. */
const NAMED = 8;

function listed(ranks: readonly number[]): string {
  const more = ranks.length > NAMED ? ` and ${ranks.length - NAMED} more` : '';
  return `rank${ranks.length > 1 ? 's' : ''} ${ranks.slice(0, NAMED).join(', ')}${more}`;
}

/** `logs/rank-N.log` of a run: what a rank says, from when rank 0 has begun the run. */
export class RankLog implements Screen {
  readonly #run: string;
  readonly #file: string;
  #held = '';

  constructor(run: string, rank: number, size: number) {
    this.#run = run;
    this.#file = join(run, 'logs', `rank-${rank}.log`);
    this.write(`${new Date().toISOString()} rank ${rank} of ${size}, process ${process.pid}\n`);
  }

  write(text: string): void {
    this.#held += text;
    if (!existsSync(join(this.#run, 'config.yaml'))) return;
    const whole = this.#held;
    this.#held = '';
    try {
      mkdirSync(join(this.#run, 'logs'), { recursive: true });
      appendFileSync(this.#file, whole);
    } catch {
      // A log that cannot be written is none that a training ends for.
    }
  }
}
