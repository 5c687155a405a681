/**
 * How long a process takes to end, fair on a machine that does other things as well: what the scheduler kept the thread
 * waiting that the end depends on is not counted (/proc/PID/task/TID/schedstat; without it the clock alone is).
 */
import type { ChildProcess } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { setTimeout } from 'node:timers/promises';

/** Milliseconds between looks. */
const INTERVAL = 10;

const read = (path: string): string | undefined => {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    // It has ended.
    return undefined;
  }
};

/** Milliseconds for which a thread was ready to run and another had its processor. */
const waited = (pid: number, thread: number): number | undefined => {
  const text = read(`/proc/${pid}/task/${thread}/schedstat`);
  return text === undefined ? undefined : Number(text.split(' ')[1]) / 1e6;
};

const isRunning = (pid: number): boolean => {
  const state = read(`/proc/${pid}/stat`)?.split(') ').at(-1)?.[0];
  return state !== undefined && state !== 'Z' && state !== 'X';
};

/** The thread that ends a process whose event loop is busy. */
const watchOf = (pid: number): number | undefined => {
  try {
    const threads = readdirSync(`/proc/${pid}/task`).map(Number);
    return threads.find((thread) => read(`/proc/${pid}/task/${thread}/comm`)?.trim() === 'signals');
  } catch {
    return undefined;
  }
};

export type Stage = 'launcher' | 'starting' | 'born';

/** What a command is by now: the shell that looks for Node.js, Node.js before it handles signals, or the program. */
export function stageOf(pid: number): Stage {
  if (process.platform !== 'linux') return 'born';
  if (!/(^|\/)node$/.test(read(`/proc/${pid}/cmdline`)?.split('\0')[0] ?? '')) return 'launcher';
  const [, caught = '0'] = /SigCgt:\s*(\w+)/.exec(read(`/proc/${pid}/status`) ?? '') ?? [];
  // SIGHUP: Node.js itself handles the two others.
  return (BigInt(`0x${caught}`) & 1n) > 0n ? 'born' : 'starting';
}

/** Begins to measure; call it as the signal is sent. */
export class Ending {
  readonly #started = performance.now();
  readonly #pid: number;
  readonly #watch: number | undefined;
  readonly #before: readonly [main: number, watch: number];
  #after: [main: number, watch: number];
  #last = this.#started;

  constructor({ pid = 0 }: ChildProcess) {
    this.#pid = pid;
    this.#watch = watchOf(pid);
    this.#before = [waited(pid, pid) ?? 0, this.#watch === undefined ? 0 : (waited(pid, this.#watch) ?? 0)];
    this.#after = [...this.#before];
    void this.#look();
  }

  /** Milliseconds by the clock, so far. */
  get elapsed(): number {
    return performance.now() - this.#started;
  }

  /**
   * Milliseconds until it had ended, less those for which the thread was kept waiting that ends it: its first one
   * (`byMain`), or the watch over signals.
   */
  took(byMain: boolean): number {
    const [main, watch] = this.#after.map((each, i) => each - this.#before[i]!) as [number, number];
    const elapsed = process.platform === 'linux' ? this.#last - this.#started + INTERVAL : this.elapsed;
    return elapsed - (byMain ? main : watch);
  }

  async #look(): Promise<void> {
    while (isRunning(this.#pid)) {
      this.#last = performance.now();
      const [main, watch] = this.#after;
      this.#after = [
        waited(this.#pid, this.#pid) ?? main,
        this.#watch === undefined ? 0 : (waited(this.#pid, this.#watch) ?? watch),
      ];
      await setTimeout(INTERVAL);
    }
  }
}
