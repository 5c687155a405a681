/**
 * Several servers that do the same work. Each is asked so much at once and no more; what one could not answer is asked
 * again, of whichever is there, and is answered once. A server that is away is waited for.
 */
import { setTimeout as sleep } from 'node:timers/promises';

import { UserError } from '../errors.ts';
import { Endpoint, ServerFault, smallAnswer } from './http.ts';
import type { ServerProcess } from './process.ts';
import type { Served, ServerProtocol, Weights } from './protocol.ts';

export interface Server {
  readonly endpoint: Endpoint;
  readonly served: Served;
  /** The weights that it was given last, and when it has them. */
  has: { readonly weights: Weights; readonly loaded: Promise<void> } | undefined;
}

interface Member extends Server {
  active: number;
  state: 'there' | 'away' | 'gone';
}

export interface PoolOptions {
  readonly protocol: ServerProtocol;
  readonly urls: readonly string[];
  /** Seconds that an answer may take, and that a server may be away. */
  readonly seconds: number;
  /** Requests that one server is sent at once. */
  readonly concurrent: number;
  /** What started them, and starts them again. */
  readonly process?: ServerProcess | undefined;
  readonly onWarning: (message: string) => void;
  readonly signal?: AbortSignal | undefined;
}

/** Times that one request is tried, as long as somebody answers. */
const tries = 5;
/** Seconds that a server which nobody here starts is waited for at first. */
const patience = 30;
/** Milliseconds between looks at a server that is away: from, to. */
const pauses = [250, 5000] as const;

export class ServerPool implements Disposable {
  readonly #options: PoolOptions;
  readonly #members: readonly Member[];
  readonly #ended = new AbortController();
  /** Those who wait for a server. */
  readonly #waiting: (() => void)[] = [];

  /** @throws UserError where a server does not come, or is another program */
  static async open(options: PoolOptions): Promise<ServerPool> {
    const endpoints = options.urls.map((url) => new Endpoint(url));
    const members = await Promise.all(endpoints.map((endpoint) => meet(endpoint, options)));
    return new ServerPool(options, members);
  }

  private constructor(options: PoolOptions, members: readonly Member[]) {
    this.#options = options;
    this.#members = members;
  }

  get servers(): readonly Server[] {
    return this.#members;
  }

  /**
   * Has a server do something, however often that takes.
   * @throws UserError where it cannot be done; the signal's reason when it is aborted
   */
  async run<T>(body: (server: Server) => Promise<T>, signal?: AbortSignal): Promise<T> {
    const began = performance.now();
    const failed = new Set<Member>();
    for (let failures = 0; ;) {
      const server = await this.#take(signal, failed);
      try {
        return await body(server);
      } catch (error) {
        if (!(error instanceof ServerFault)) throw error;
        this.#ended.signal.throwIfAborted();
        const waits = error.kind === 'busy' && performance.now() - began < 1000 * this.#options.seconds;
        if (!waits && (!isPassing(error) || ++failures === tries)) throw explained(error, server);
        failed.add(server);
        if (error.kind === 'away') this.#lose(server, error);
        else await sleep(this.#pause(error, failures, began), undefined, { signal });
      } finally {
        server.active--;
        this.#wake();
      }
    }
  }

  [Symbol.dispose](): void {
    this.#ended.abort(new Error('the servers are not needed any more'));
    for (const { endpoint } of this.#members) endpoint.close();
  }

  /** The server with least to do, once one has room; one that has failed only where there is no other. */
  async #take(signal: AbortSignal | undefined, failed: ReadonlySet<Member>): Promise<Member> {
    for (;;) {
      signal?.throwIfAborted();
      this.#ended.signal.throwIfAborted();
      const there = this.#members.filter(({ state }) => state === 'there');
      const others = there.filter((each) => !failed.has(each));
      const free = (others.length > 0 ? others : there).filter(({ active }) => active < this.#options.concurrent);
      const [first] = free.toSorted((a, b) => a.active - b.active);
      if (first) {
        first.active++;
        return first;
      }
      if (this.#members.every(({ state }) => state === 'gone')) throw this.#allGone();
      await this.#change(signal);
    }
  }

  /** Milliseconds until it is asked again: as it says itself, but not for longer than it may take altogether. */
  #pause({ after }: ServerFault, failures: number, began: number): number {
    const left = 1000 * this.#options.seconds - (performance.now() - began);
    return Math.min(1000 * (after ?? 0.1 * 2 ** failures), Math.max(left, pauses[0]));
  }

  /** Until a server has room, is back, or is given up. */
  #change(signal: AbortSignal | undefined): Promise<void> {
    return new Promise((resolve, reject) => {
      const stop = (): void => reject(signal?.reason as Error);
      signal?.addEventListener('abort', stop, { once: true });
      this.#waiting.push(() => {
        signal?.removeEventListener('abort', stop);
        resolve();
      });
    });
  }

  #wake(): void {
    for (const go of this.#waiting.splice(0)) go();
  }

  #lose(server: Member, why: ServerFault): void {
    if (server.state !== 'there' || this.#ended.signal.aborted) return;
    server.state = 'away';
    server.has = undefined;
    const { url } = server.endpoint;
    this.#options.onWarning(`the server ${url} does not answer (${why.message}): what it was asked is asked again`);
    void this.#wait(server).then(
      (isBack) => {
        server.state = isBack ? 'there' : 'gone';
        const { seconds } = this.#options;
        this.#options.onWarning(`the server ${url} ${isBack ? 'is back' : `did not come back within ${seconds} s`}`);
        this.#wake();
      },
      // The pool has ended.
      () => undefined,
    );
  }

  async #wait({ endpoint }: Member): Promise<boolean> {
    const { protocol, seconds, process } = this.#options;
    const until = performance.now() + 1000 * seconds;
    for (let pause: number = pauses[0]; performance.now() < until; pause = Math.min(2 * pause, pauses[1])) {
      await sleep(pause, undefined, { signal: this.#ended.signal });
      process?.revive();
      if (await isHealthy(endpoint, protocol)) return true;
    }
    return false;
  }

  #allGone(): UserError {
    return new UserError(`no server answers, for ${this.#options.seconds} s now`, {
      where: this.#options.urls.join(', '),
      remedy: 'Look at its log, start it again, and resume the run; rollout.timeout is how long it may be away.',
    });
  }
}

/** Whether it may pass by itself. */
const isPassing = ({ kind }: ServerFault): boolean => kind === 'away' || kind === 'failed';

function explained(fault: ServerFault, { endpoint: { url: where } }: Server): UserError {
  const { kind, message, cause } = fault;
  if (kind === 'refused') {
    return new UserError(`the server refused: ${message}`, { where, remedy: 'Its log says more.', cause });
  }
  if (kind === 'wrong') {
    return new UserError(`the server's answer cannot be used: ${message}`, {
      where,
      remedy: 'rollout.backend must name the program that runs there, in a version that the documentation names.',
      cause,
    });
  }
  const remedy =
    'Its log says more. rollout.timeout is how long an answer may take, rollout.concurrent how much it is asked at once.';
  return new UserError(`the server failed ${kind === 'busy' ? 'to take more' : `${tries} times`}: ${message}`, {
    where,
    remedy,
    cause,
  });
}

async function isHealthy(endpoint: Endpoint, { health }: ServerProtocol): Promise<boolean> {
  try {
    await endpoint.call({ method: 'GET', path: health, seconds: 10, most: smallAnswer });
    return true;
  } catch {
    return false;
  }
}

const START = 'Start it, or say its address in rollout.servers (--server).';
const ANOTHER =
  'Another program answers there: say the address of the server in rollout.servers (--server), and the program that it ' +
  'is in rollout.backend (--backend).';

/** Waits for a server to come, and asks what it serves. */
async function meet(endpoint: Endpoint, options: PoolOptions): Promise<Member> {
  const { protocol, process, onWarning, signal } = options;
  const seconds = process ? options.seconds : Math.min(patience, options.seconds);
  const until = performance.now() + 1000 * seconds;
  for (let told = false; ;) {
    try {
      await endpoint.call({ method: 'GET', path: protocol.health, seconds: 10, most: smallAnswer, signal });
      const served = await protocol.served(endpoint, signal);
      return { endpoint, served, has: undefined, active: 0, state: 'there' };
    } catch (error) {
      if (!(error instanceof ServerFault)) throw error;
      if (error.status === 401 || error.status === 403) {
        throw new UserError('the server asks for an API key', {
          where: endpoint.url,
          remedy: 'Set VISURF_SERVER_TOKEN to it.',
        });
      }
      const comes = error.kind === 'away' || error.kind === 'busy' || error.kind === 'failed';
      if (!comes || performance.now() > until || process?.hasFailed) {
        throw new UserError(
          comes ? `no server answers: ${error.message}` : `no ${protocol.title} server: ${error.message}`,
          {
            where: endpoint.url,
            remedy: process ? `The log of rollout.serverCommand is ${process.log}.` : comes ? START : ANOTHER,
          },
        );
      }
      if (!told) onWarning(`waiting for the server ${endpoint.url}`);
      told = true;
      await sleep(1000, undefined, { signal });
    }
  }
}
