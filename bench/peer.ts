/** A measured program as a child process: one line in, one step, one line of JSON out (protocol.py). */
import { spawn, type ChildProcessByStdio } from 'node:child_process';
import { createInterface } from 'node:readline';
import { totalmem } from 'node:os';
import { setTimeout } from 'node:timers/promises';
import type { Readable, Writable } from 'node:stream';

import { processorSeconds, statusOf } from './resident.ts';

export interface Ready {
  readonly peer: string;
  readonly torch: string;
  readonly threads: number;
  /** Instruction set of its libtorch's kernels. */
  readonly kernels?: string;
  /** Resident megabytes once loaded. */
  readonly residentMb: number;
  /** Sequences that TRL holds at once. */
  readonly sequences?: number;
}

export interface Step {
  /** Seconds by phase; `total` is the whole step. */
  readonly seconds: Readonly<Record<string, number>>;
  /** Processor seconds of all threads: other programs on the machine hardly change them. */
  readonly cpuSeconds: number;
  /** Sampled tokens (rollouts), or trained tokens (SFT). */
  readonly tokens: number;
  readonly promptTokens?: number;
  /** Seconds of the generation until the first token of the first rollout. */
  readonly prefillSeconds?: number;
  /** Highest resident megabytes so far. */
  readonly peakMb: number;
}

/** Share of the machine's memory at which a program is ended, before the system ends something else. */
const memoryShare = 0.7;

export class Peer {
  readonly name: string;
  readonly #child: ChildProcessByStdio<Writable, Readable, Readable>;
  readonly #lines: AsyncIterator<string>;
  readonly #guard: NodeJS.Timeout;
  #errors = '';

  constructor(name: string, command: readonly string[], env: NodeJS.ProcessEnv) {
    const [program = '', ...args] = command;
    this.name = name;
    this.#child = spawn(program, args, { stdio: ['pipe', 'pipe', 'pipe'], env: { ...process.env, ...env } });
    this.#lines = createInterface({ input: this.#child.stdout })[Symbol.asyncIterator]();
    this.#child.stderr.on('data', (chunk: Buffer) => (this.#errors = (this.#errors + chunk.toString()).slice(-4000)));
    // A peer that died is reported where its next line is missing.
    this.#child.stdin.on('error', () => undefined);
    this.#guard = setInterval(() => this.#checkMemory(), 200);
    this.#child.once('exit', () => clearInterval(this.#guard));
  }

  ready(): Promise<Ready> {
    return this.#next() as Promise<Ready>;
  }

  step(): Promise<Step> {
    this.#child.stdin.write('step\n');
    return this.#next() as Promise<Step>;
  }

  /** Until it does nothing: after its answer a program may still be freeing gigabytes, which is nobody else's time. */
  async idle(): Promise<void> {
    const used = (): number => processorSeconds(this.#child.pid!);
    for (let before = used(), waits = 0; waits < 100 && this.#child.exitCode === null; waits++) {
      await setTimeout(50);
      const now = used();
      if (now === before) return;
      before = now;
    }
  }

  async stop(): Promise<void> {
    if (this.#child.exitCode !== null) return;
    const gone = new Promise((resolve) => this.#child.once('exit', resolve));
    this.#child.stdin.end();
    const timer = globalThis.setTimeout(() => this.#child.kill(), 5_000);
    await gone;
    clearTimeout(timer);
  }

  #checkMemory(): void {
    const { pid } = this.#child;
    if (pid === undefined || residentBytes(pid) <= memoryShare * totalmem()) return;
    this.#errors += `it took more than ${memoryShare} of the machine's memory: fewer sequences at once will fit`;
    this.#child.kill('SIGKILL');
  }

  async #next(): Promise<unknown> {
    const line = await this.#lines.next();
    if (line.done === true) throw new Error(`${this.name} ended:\n${this.#errors}`);
    return JSON.parse(line.value);
  }
}

/** 0 once the process has ended. */
function residentBytes(pid: number): number {
  try {
    return statusOf(pid, 'VmRSS') || 0;
  } catch {
    return 0;
  }
}
