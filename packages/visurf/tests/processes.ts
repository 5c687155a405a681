/** Commands with ranks below them, for tests that stop some of these. */
import { spawn, type ChildProcess } from 'node:child_process';
import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { root } from './cli.ts';

export interface Ended {
  readonly code: number | null;
  readonly stderr: string;
  /** Milliseconds since `fault`. */
  readonly took: number;
}

export class Command {
  readonly child: ChildProcess;
  readonly #ended: Promise<number | null>;
  #said = '';
  #since = 0;

  constructor(command: string, args: readonly string[], env: NodeJS.ProcessEnv = process.env) {
    this.child = spawn(command, args, { stdio: ['ignore', 'ignore', 'pipe'], env });
    this.child.stderr!.on('data', (chunk: Buffer) => (this.#said += chunk.toString()));
    this.#ended = new Promise((resolve) => this.child.on('close', resolve));
  }

  /** Waits until it has said something, or has ended. */
  async says(text: string): Promise<void> {
    while (!this.#said.includes(text) && this.child.exitCode === null) await setTimeout(20);
  }

  /** The process of a rank; undefined where it has none. */
  rank(rank: number): number | undefined {
    return descendants(this.child.pid!).find((pid) => environmentOf(pid).includes(`RANK=${rank}`));
  }

  /** Does what the command is to fall over. */
  async fault(body: () => unknown): Promise<void> {
    this.#since = performance.now();
    await body();
  }

  async end(): Promise<Ended> {
    const code = await this.#ended;
    return { code, stderr: this.#said, took: performance.now() - this.#since };
  }
}

export const visurfCommand = (args: readonly string[], env?: NodeJS.ProcessEnv): Command =>
  new Command(join(root, 'visurf'), args, env);

const environmentOf = (pid: number): string[] => {
  try {
    return readFileSync(`/proc/${pid}/environ`, 'utf8').split('\0');
  } catch {
    return [];
  }
};

/** Processes below one, those that are nearest first. */
export function descendants(pid: number): number[] {
  const tasks = `/proc/${pid}/task`;
  if (!existsSync(tasks)) return [];
  const own = readdirSync(tasks).flatMap((task) => {
    try {
      return readFileSync(join(tasks, task, 'children'), 'utf8')
        .split(' ')
        .filter(Boolean)
        .map(Number);
    } catch {
      return [];
    }
  });
  return [...own, ...own.flatMap(descendants)];
}

export const isAlive = (pid: number): boolean => {
  try {
    // One that has ended, and whose parent has not asked.
    return !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
  } catch {
    return false;
  }
};
