/**
 * Rewards in processes of their own, each of which judges one thing at a time: one that hangs, ends, or fills the memory is
 * ended and named, and takes nothing else with it.
 */
import { fork, type ChildProcess } from 'node:child_process';
import { gone, kept } from '@visurf/torch/signals';
import { messageOf } from '../errors.ts';
import { skip, type JudgedAnswer, type RewardContext, type RewardFunction } from '../reward/reward.ts';
import type { Sample } from '../types.ts';
import type { Plugin } from './plugins.ts';

export interface IsolationOptions {
  readonly processes: number;
  /** For one call. */
  readonly seconds: number;
  /** Of the heap of a process. */
  readonly megabytes?: number;
}

/** What a process is asked. */
export interface Request {
  readonly file: string;
  readonly reward: string;
  readonly answers: readonly JudgedAnswer[];
  readonly sample: Sample;
  readonly context: RewardContext;
}

/** `skip` is null: symbols do not travel. */
export type Reply = { readonly values: unknown } | { readonly fault: string } | 'ready';

const SKIPPED = null;

/** Seconds that a process may take to start. */
const START = 60;

class Worker {
  readonly #files: readonly string[];
  readonly #options: IsolationOptions;
  #child: ChildProcess | undefined;

  constructor(files: readonly string[], options: IsolationOptions) {
    [this.#files, this.#options] = [files, options];
    // One that hangs would outlive this process.
    process.on('exit', () => this.#child?.kill('SIGKILL'));
  }

  async ask(request: Request): Promise<unknown> {
    this.#child ??= await this.#start();
    const child = this.#child;
    const reply = await this.#next(child, this.#options.seconds, () => child.send(request));
    if (reply === 'ready') throw new Error('it says what it should not');
    if ('fault' in reply) throw new Error(reply.fault);
    return reply.values;
  }

  async #start(): Promise<ChildProcess> {
    const extension = import.meta.url.endsWith('.ts') ? 'ts' : 'js';
    const { megabytes = 2048 } = this.#options;
    const child = fork(new URL(`./isolated-process.${extension}`, import.meta.url), this.#files, {
      execArgv: [`--max-old-space-size=${megabytes}`],
      serialization: 'advanced',
      stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    });
    const { pid } = child;
    if (pid !== undefined) {
      kept(pid);
      child.once('exit', () => gone(pid));
    }
    await this.#next(child, START, () => undefined);
    // It keeps no program alive; while it is asked, the limit on its time does.
    child.unref();
    child.channel?.unref();
    return child;
  }

  /** What a process says next; where it says nothing in time, or dies, it is gone. */
  #next(child: ChildProcess, seconds: number, ask: () => unknown): Promise<Reply> {
    return new Promise((resolve, reject) => {
      const done = (): void => {
        clearTimeout(timer);
        child.off('message', said).off('exit', died).off('error', died);
      };
      const said = (reply: unknown): void => {
        done();
        resolve(reply as Reply);
      };
      const died = (cause: unknown, signal?: unknown): void => {
        done();
        this.#child = undefined;
        const how = typeof cause === 'number' ? `code ${cause}` : messageOf(signal ?? cause);
        reject(new Error(`its process ended (${how}); out of memory, or it exits`));
      };
      const timer = setTimeout(() => {
        done();
        this.#child = undefined;
        child.kill('SIGKILL');
        reject(new Error(`it takes more than ${seconds} s (reward.seconds)`));
      }, 1000 * seconds);
      child.on('message', said).on('exit', died).on('error', died);
      ask();
    });
  }
}

/** The rewards of plugins, which run in these processes. */
export function isolated(plugins: readonly Plugin[], options: IsolationOptions): RewardFunction[] {
  const files = plugins.map(({ file }) => file);
  const idle = Array.from({ length: options.processes }, () => new Worker(files, options));
  const waiting: ((worker: Worker) => void)[] = [];
  const ask = async (request: Request): Promise<unknown> => {
    const worker = idle.pop() ?? (await new Promise<Worker>((resolve) => waiting.push(resolve)));
    try {
      return await worker.ask(request);
    } finally {
      const next = waiting.shift();
      if (next) next(worker);
      else idle.push(worker);
    }
  };
  const valuesOf = async (request: Request): Promise<unknown> => {
    const values = await ask(request);
    return Array.isArray(values) ? values.map((value: unknown) => (value === SKIPPED ? skip : value)) : values;
  };
  return plugins.flatMap(({ file, rewards }) =>
    rewards.map((reward): RewardFunction => {
      const { name, weight } = reward;
      const request = { file, reward: name };
      if (reward.scoreGroup) {
        const scoreGroup = (answers: readonly JudgedAnswer[], sample: Sample, context: RewardContext) =>
          valuesOf({ ...request, answers, sample, context }) as Promise<number[]>;
        return { name, weight, isIsolated: true, scoreGroup };
      }
      const score = async (answer: JudgedAnswer, sample: Sample, context: RewardContext) => {
        const [value] = (await valuesOf({ ...request, answers: [answer], sample, context })) as number[];
        return value!;
      };
      return { name, weight, isIsolated: true, score };
    }),
  );
}
