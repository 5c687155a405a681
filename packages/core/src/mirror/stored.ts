/** A training whose output is in an object store: it writes a directory of this machine, and a thread sends that. */
import { Worker } from 'node:worker_threads';
import { hold } from '@visurf/torch/signals';
import { localFolder, parseAddress } from '../store/address.ts';
import { errorOf, type MirrorData, type MirrorOrder, type MirrorWord } from './protocol.ts';

/** Milliseconds without anything that arrives, after which a run that has ended gives up sending. */
const [PATIENCE, HURRY] = [300_000, 20_000];

export interface StoredOptions {
  readonly resume: boolean | 'ifBegun';
  /** A checkpoint that the run is to go back to. */
  readonly step: number | undefined;
  /** Checkpoints that the run keeps. */
  readonly keep: number;
  readonly onWarning: (message: string) => void;
  readonly onFetch: (done: number, total: number) => void;
  /** Hears how many files are still to be sent, when the training is over. */
  readonly onSending: (left: number) => void;
}

/** Files of the run's directory that the store does not have. */
export interface Unsent {
  readonly directory: string;
  readonly files: readonly string[];
}

/** A run's directory, whose files go to a store. */
export class StoredRun {
  readonly directory: string;
  readonly #thread: Worker;
  readonly #options: StoredOptions;
  readonly #ready = Promise.withResolvers<undefined>();
  readonly #finished = Promise.withResolvers<readonly string[]>();

  /**
   * Takes the run, and fetches it where it goes on and this machine has none of it.
   * @throws UserError where the store cannot be had, the run is in use, or there is one already or none
   */
  static async open(output: string, options: StoredOptions): Promise<StoredRun> {
    const run = new StoredRun(output, options);
    try {
      await run.#ready.promise;
    } catch (error) {
      await run.#thread.terminate();
      throw error;
    }
    return run;
  }

  private constructor(output: string, options: StoredOptions) {
    const address = parseAddress(output);
    const { resume, step, keep } = options;
    this.directory = localFolder(address, 'runs');
    this.#options = options;
    const extension = import.meta.url.endsWith('.ts') ? 'ts' : 'js';
    const workerData = { address, directory: this.directory, resume, step, keep } satisfies MirrorData;
    this.#thread = new Worker(new URL(`./mirror-thread.${extension}`, import.meta.url), { workerData, execArgv: [] });
    this.#thread.on('message', (word: MirrorWord) => this.#hear(word));
    const end = (error: Error): void => {
      this.#ready.reject(error);
      this.#finished.reject(error);
    };
    this.#thread.on('error', end);
    this.#thread.on('exit', (code) => end(new Error(`the thread of the store ended with code ${code}`)));
    // Of two that are rejected one is waited for.
    for (const { promise } of [this.#ready, this.#finished]) promise.catch(() => undefined);
  }

  /** The run is open: what it writes from here on is sent. */
  begin(): void {
    this.#say({ kind: 'go' });
  }

  /**
   * Sends the rest, for as long as the store takes it.
   * @param isHurried whoever stopped the training does not wait long
   * @param signal when aborted, as if that were so
   */
  async finish(isHurried: boolean, signal?: AbortSignal): Promise<Unsent | undefined> {
    // A signal that ends the process would end the thread.
    using _sending = hold();
    const hurry = (): void => this.#say({ kind: 'finish', patience: HURRY });
    this.#say({ kind: 'finish', patience: isHurried || signal?.aborted ? HURRY : PATIENCE });
    signal?.addEventListener('abort', hurry);
    try {
      const files = await this.#finished.promise;
      return files.length === 0 ? undefined : { directory: this.directory, files };
    } finally {
      signal?.removeEventListener('abort', hurry);
      await this.#thread.terminate();
    }
  }

  #say(order: MirrorOrder): void {
    this.#thread.postMessage(order);
  }

  #hear(word: MirrorWord): void {
    const { onWarning, onFetch, onSending } = this.#options;
    switch (word.kind) {
      case 'ready':
        return this.#ready.resolve(undefined);
      case 'failed': {
        const error = errorOf(word.failure);
        this.#ready.reject(error);
        return this.#finished.reject(error);
      }
      case 'warning':
        return onWarning(word.message);
      case 'fetching':
        return onFetch(word.done, word.total);
      case 'sending':
        return onSending(word.left);
      case 'finished':
        return this.#finished.resolve(word.left);
    }
  }
}
