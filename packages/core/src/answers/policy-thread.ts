/**
 * A policy in a thread of its own: the event loop of the program stays free while the model answers, and questions that are
 * asked at the same time are answered together.
 */
import { Worker } from 'node:worker_threads';

import type { Score } from './score.ts';
import type { PromptInput } from '../prompt/messages.ts';
import type { Settings } from '../question/settings.ts';
import { errorOf, type Opened, type Reply, type Request, type Response, type ThreadData } from './protocol.ts';
import type { AskOptions, Answered, OnPiece } from './queue.ts';

interface Waiting {
  readonly resolve: (result: never) => void;
  readonly reject: (error: unknown) => void;
  readonly onPiece: OnPiece | undefined;
}

const ended = (code: number): Error => new Error(`the thread of the model ended with code ${code}`);

type Asked = Request extends infer Each ? (Each extends Request ? Omit<Each, 'id'> : never) : never;

export class PolicyThread {
  readonly #worker: Worker;
  readonly #opened: Opened;
  readonly #waiting = new Map<number, Waiting>();
  #asked = 0;
  #end: Error | undefined;

  /** @throws UserError for a model that cannot be loaded */
  static async open(data: ThreadData): Promise<PolicyThread> {
    const extension = import.meta.url.endsWith('.ts') ? 'ts' : 'js';
    const worker = new Worker(new URL(`./thread.${extension}`, import.meta.url), { workerData: data, execArgv: [] });
    const first = Promise.withResolvers<Opened>();
    worker.once('error', first.reject);
    worker.once('exit', (code) => first.reject(ended(code)));
    worker.once('message', (reply: Reply) => {
      if (reply.kind === 'opened') first.resolve(reply.opened);
      else if (reply.kind === 'failed') first.reject(errorOf(reply.failure));
    });
    try {
      return new PolicyThread(worker, await first.promise);
    } catch (error) {
      await worker.terminate();
      throw error;
    }
  }

  private constructor(worker: Worker, opened: Opened) {
    [this.#worker, this.#opened] = [worker, opened];
    worker.on('message', (reply: Reply) => this.#hear(reply));
    worker.on('error', (error) => this.#stop(error as Error));
    worker.on('exit', (code) => this.#stop(ended(code)));
    worker.unref();
  }

  /** Directory of the whole model; with an adapter, that of its base. */
  get directory(): string {
    return this.#opened.directory;
  }

  /** What it was trained by, where it carries that. */
  get settings(): Settings | undefined {
    return this.#opened.settings;
  }

  /** Why it answers no more; undefined while it does. */
  get fault(): Error | undefined {
    return this.#end;
  }

  get vocabularySize(): number {
    return this.#opened.vocabularySize;
  }

  /** Answers a prompt, together with others that wait. @throws UserError as a policy here does; the signal's reason */
  async ask(input: PromptInput, { signal, ...options }: AskOptions = {}, onPiece?: OnPiece): Promise<Answered> {
    signal?.throwIfAborted();
    const id = this.#asked;
    const cancel = (): void => this.#worker.postMessage({ id, kind: 'cancel' } satisfies Request);
    signal?.addEventListener('abort', cancel, { once: true });
    try {
      return await this.#request<Answered>({ kind: 'ask', input, options }, onPiece);
    } catch (error) {
      signal?.throwIfAborted();
      throw error;
    } finally {
      signal?.removeEventListener('abort', cancel);
    }
  }

  async score(input: PromptInput, response: Response): Promise<Score> {
    return await this.#request<Score>({ kind: 'score', input, response });
  }

  /** What tokens say, as bytes, a character each. */
  async spell(tokens: readonly number[]): Promise<readonly string[]> {
    return await this.#request<readonly string[]>({ kind: 'spell', tokens });
  }

  #request<T>(asked: Asked, onPiece?: OnPiece): Promise<T> {
    if (this.#end) return Promise.reject(this.#end);
    return new Promise<T>((resolve, reject) => {
      const id = this.#asked++;
      this.#waiting.set(id, { resolve, reject, onPiece });
      this.#worker.ref();
      this.#worker.postMessage({ ...asked, id });
    });
  }

  #hear(reply: Reply): void {
    if (reply.kind === 'opened' || reply.id === undefined) return;
    const waiting = this.#waiting.get(reply.id);
    if (reply.kind === 'piece') {
      waiting?.onPiece?.(reply.member, reply.piece);
      return;
    }
    this.#waiting.delete(reply.id);
    if (this.#waiting.size === 0) this.#worker.unref();
    if (reply.kind === 'done') waiting?.resolve(reply.result as never);
    else waiting?.reject(errorOf(reply.failure));
  }

  #stop(error: Error): void {
    this.#end ??= error;
    for (const { reject } of this.#waiting.values()) reject(this.#end);
    this.#waiting.clear();
  }

  [Symbol.dispose](): void {
    this.#stop(new Error('the policy was disposed of'));
    void this.#worker.terminate();
  }
}
