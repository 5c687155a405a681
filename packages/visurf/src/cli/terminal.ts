/** Lines of a person at a terminal, or of a pipe, each of which starts work that Ctrl-C can stop. */

import { createInterface } from 'node:readline';
import type { Interface } from 'node:readline';
import { answered, hold, INTERRUPTED } from './interrupt.ts';

/** Does what a line says. Gives false to end. */
type Take = (line: string, signal: AbortSignal) => Promise<boolean>;

export class Terminal {
  readonly #lines: Interface;
  readonly #isPerson = process.stdin.isTTY && process.stderr.isTTY;
  #work = new AbortController();
  #working = false;
  #interrupted = false;
  #ended = false;

  /** @param greeting for a person */
  constructor(greeting: string) {
    // Editing and prompts go to standard error: standard output is for results.
    const streams = { input: process.stdin, output: process.stderr, terminal: this.#isPerson };
    this.#lines = createInterface({ ...streams, prompt: '> ' });
    if (this.#isPerson) console.error(greeting);
  }

  /** Hands over line by line until the input ends, `take` says so, or Ctrl-C comes twice without a line between. */
  async read(take: Take): Promise<void> {
    const interrupt = () => this.#interrupt();
    this.#lines.on('SIGINT', interrupt);
    process.on('SIGINT', interrupt);
    try {
      this.#prompt();
      for await (const line of this.#lines) {
        if (this.#ended) break;
        this.#interrupted = false;
        if (!(await this.#whileWorking((signal) => take(line, signal)))) break;
        this.#prompt();
      }
    } finally {
      process.off('SIGINT', interrupt);
      this.#lines.close();
    }
  }

  async #whileWorking(work: (signal: AbortSignal) => Promise<boolean>): Promise<boolean> {
    this.#work = new AbortController();
    this.#working = true;
    // One Ctrl-C stops the answer, not the program.
    using _answer = hold();
    // Line editing reads keys raw; during work Ctrl-C is to be a signal, and what is typed ahead waits.
    if (this.#isPerson) {
      this.#lines.pause();
      process.stdin.setRawMode(false);
    }
    try {
      return await work(this.#work.signal);
    } finally {
      this.#working = false;
      if (this.#isPerson) process.stdin.setRawMode(true);
    }
  }

  #prompt(): void {
    if (this.#isPerson && !this.#ended) this.#lines.prompt();
  }

  #interrupt(): void {
    answered();
    if (this.#interrupted) {
      this.#ended = true;
      process.exitCode = INTERRUPTED;
      this.#work.abort();
      this.#lines.close();
      return;
    }
    this.#interrupted = true;
    if (this.#working) return this.#work.abort();
    console.error('\n(Ctrl-C again ends the chat, as Ctrl-D does)');
    // Deletes what was typed, before and behind the cursor.
    for (const name of this.#isPerson ? ['k', 'u'] : []) this.#lines.write(null, { ctrl: true, name });
    this.#prompt();
  }
}
