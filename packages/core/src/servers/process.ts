/** Servers that a command of the user's starts, and that end with the run. */
import { spawn, type ChildProcess } from 'node:child_process';
import { closeSync, openSync } from 'node:fs';
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';

/** Milliseconds that it has to end by itself. */
const grace = 15_000;
/** Times that it is started again. */
const restarts = 20;

export class ServerProcess implements AsyncDisposable {
  /** The file that has what it says. */
  readonly log: string;
  readonly #command: string;
  readonly #environment: Readonly<Record<string, string>>;
  readonly #end = (): void => this.#kill('SIGKILL');
  #child: ChildProcess | undefined;
  #starts = 0;

  /**
   * @param command as a shell takes it
   * @param environment variables beside those that this process has
   */
  constructor(command: string, log: string, environment: Readonly<Record<string, string>> = {}) {
    this.#command = command;
    this.#environment = environment;
    this.log = log;
    process.on('exit', this.#end);
    this.#start();
  }

  /** Whether it has ended. */
  get hasFailed(): boolean {
    const { exitCode = null, signalCode = null } = this.#child ?? {};
    return exitCode !== null || signalCode !== null;
  }

  /** Starts it again where it has ended. */
  revive(): void {
    if (this.hasFailed && this.#starts <= restarts) this.#start();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    process.off('exit', this.#end);
    if (!this.#child || this.hasFailed) return;
    const ended = once(this.#child, 'exit');
    this.#kill('SIGTERM');
    await Promise.race([ended, sleep(grace, undefined, { ref: false })]);
    this.#kill('SIGKILL');
  }

  /** In a group of its own, so that what it starts ends with it, and Ctrl-C in a terminal reaches visurf alone. */
  #start(): void {
    this.#starts++;
    const log = openSync(this.log, 'a');
    try {
      const env = { ...process.env, ...this.#environment };
      this.#child = spawn(this.#command, { shell: true, detached: true, stdio: ['ignore', log, log], env });
      this.#child.on('error', () => undefined);
    } finally {
      closeSync(log);
    }
  }

  #kill(signal: NodeJS.Signals): void {
    const pid = this.#child?.pid;
    if (pid === undefined) return;
    try {
      process.kill(-pid, signal);
    } catch {
      // Nobody of the group is left.
    }
  }
}
