/** Processes that have joined on c10d (`distributed` of @visurf/torch). */
import { distributed } from '@visurf/torch';
import { hold } from '@visurf/torch/signals';

import { messageOf, NotFinite, UserError } from '../errors.ts';
import { codePrint } from './code.ts';
import type { Processes } from './processes.ts';

/** Processes that are not alone: what began them ends them, too. */
export interface Joined extends Processes, AsyncDisposable {
  /**
   * A signal that is aborted where this one is, and where that of another process is; undefined stands for one that never
   * is. What is stopped by it is stopped in all, at the end of `together` or where all ask `stops`.
   */
  follow(signal: AbortSignal | undefined): AbortSignal;
  /** The others are told why this process cannot go on. It belongs to none from here on. */
  abandon(reason: unknown): void;
}

const REMEDY =
  'Start all processes again, and resume the run where it has a checkpoint. Where they are all there but slow, ' +
  'distributed.timeout gives them longer.';

const ALIKE =
  'Give every process a RANK of its own and the same WORLD_SIZE, and the same version of visurf on every machine; where ' +
  'another training meets at the same address, choose another MASTER_PORT.';

/** What one has ended with says itself what to do. */
const remedyOf = ({ message }: distributed.RankError, remedy: string): string | undefined =>
  message.includes(' has ended: ') ? undefined : remedy;

/** A UserError for what the others are missed by; other errors as they are. */
export const explainProcesses = (error: unknown): unknown =>
  error instanceof distributed.RankError
    ? new UserError(error.message, { remedy: remedyOf(error, REMEDY), cause: error })
    : error;

const withCode = (options: distributed.JoinOptions): distributed.JoinOptions => ({
  ...options,
  terms: { visurf: codePrint(), ...options.terms },
});

/**
 * Meets the other processes, which run the same code.
 * @throws UserError that names those that do not come, or were started otherwise
 */
export async function joinProcesses(options: distributed.JoinOptions): Promise<Joined> {
  try {
    return new JoinedProcesses(await distributed.join(withCode(options)));
  } catch (error) {
    const { host, port } = options;
    const remedy = 'Check MASTER_ADDR and MASTER_PORT: where rank 0 can be reached, with a port for each training.';
    if (error instanceof distributed.RankError) {
      const own = error.ranks.length === 0 ? ALIKE : remedyOf(error, `${remedy} ${REMEDY}`);
      throw new UserError(error.message, { remedy: own, cause: error });
    }
    throw new UserError(`the processes cannot meet: ${messageOf(error)}`, {
      ...{ where: `${host}:${port}`, remedy, cause: error },
    });
  }
}

/** Tells the others, which wait or come in the next seconds, why this process does not come. */
export async function declineProcesses(options: distributed.JoinOptions, reason: unknown): Promise<void> {
  await distributed.decline(withCode(options), messageOf(reason));
}

/** What became of a part. */
type Outcome =
  | { readonly kind: 'done' | 'stopped' }
  | {
      readonly kind: 'notFinite';
      readonly said: string;
      readonly where: string | undefined;
      readonly remedy: string | undefined;
    };

/** Milliseconds between two looks for a process that wants all to stop. */
const LOOK = 250;

class JoinedProcesses implements Joined {
  readonly group: distributed.ProcessGroup;
  #isIn = true;
  #stopping = new AbortController();
  #timer: NodeJS.Timeout | undefined;
  /** A signal is answered with the others, not by the watch over signals. */
  #held: Disposable | undefined;

  constructor(group: distributed.ProcessGroup) {
    this.group = group;
  }

  get rank(): number {
    return this.group.rank;
  }
  get size(): number {
    return this.group.size;
  }

  gather<T>(value: T): Promise<T[]> {
    return this.group.gather(value);
  }
  sum(numbers: readonly number[]): Promise<number[]> {
    return this.group.agree(numbers);
  }
  async max(number: number): Promise<number> {
    return (await this.group.agree([number], 'max'))[0]!;
  }

  async together<T>(part: () => T | Promise<T>): Promise<T> {
    const { signal } = this.#stopping;
    let result: T | undefined;
    let failure: unknown;
    let outcome: Outcome = { kind: 'done' };
    try {
      result = await part();
    } catch (error) {
      failure = error;
      if (signal.aborted && error === signal.reason) outcome = { kind: 'stopped' };
      else if (error instanceof NotFinite)
        outcome = { kind: 'notFinite', said: error.reason, where: error.where, remedy: error.remedy };
      else throw error;
    }
    const outcomes = await this.gather(outcome);
    if (outcomes.some(({ kind }) => kind === 'stopped')) {
      this.#stop();
      throw signal.reason as Error;
    }
    if (failure !== undefined) throw failure as Error;
    for (const each of outcomes)
      if (each.kind === 'notFinite') throw new NotFinite(each.said, { where: each.where, remedy: each.remedy });
    return result as T;
  }

  async stops(): Promise<boolean> {
    const isStopped = (await this.max(this.#stopping.signal.aborted ? 1 : 0)) > 0;
    if (isStopped) this.#stop();
    return isStopped;
  }

  follow(signal: AbortSignal | undefined): AbortSignal {
    const own = (): void => {
      if (this.#isIn) this.group.stopAll();
      this.#stop(signal?.reason);
    };
    if (signal?.aborted) own();
    else signal?.addEventListener('abort', own, { once: true });
    this.#timer ??= setInterval(() => this.#isIn && this.group.isStopping && this.#stop(), LOOK).unref();
    this.#held ??= hold();
    return this.#stopping.signal;
  }

  #stop(reason: unknown = new Error('another process was interrupted')): void {
    if (!this.#stopping.signal.aborted) this.#stopping.abort(reason);
  }

  abandon(reason: unknown): void {
    if (!this.#isIn) return;
    this.#end();
    this.group.abandon(messageOf(reason));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (!this.#isIn) return;
    try {
      await this.group.barrier();
    } catch (error) {
      throw explainProcesses(error);
    } finally {
      this.#end();
      this.group.leave();
    }
  }

  #end(): void {
    this.#isIn = false;
    clearInterval(this.#timer);
    this.#held?.[Symbol.dispose]();
  }
}
