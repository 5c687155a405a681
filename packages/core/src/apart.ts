/** Training, here or in a thread of its own: then the event loop of the program stays free. */
import { Worker } from 'node:worker_threads';

import { errorOf, type Failure } from './answers/protocol.ts';
import type { Config } from './config/schema.ts';
import { UserError } from './errors.ts';
import { train as trainHere, type TrainOptions as Options } from './train.ts';
import type { TrainEvent, TrainResult } from './training/types.ts';

export interface TrainOptions extends Options {
  /** In a thread of its own, and alone. Rewards are then those of `plugins`: functions cannot go there. */
  readonly worker?: boolean | undefined;
}

/** What the thread is given. */
export interface TrainingData {
  readonly config: Config;
  readonly options: Omit<Options, 'onEvent' | 'signal' | 'rewards' | 'processes'>;
}

/** What it says. */
export type TrainingWord =
  | { readonly kind: 'event'; readonly event: TrainEvent }
  | { readonly kind: 'done'; readonly result: TrainResult }
  | { readonly kind: 'failed'; readonly failure: Failure };

/**
 * Trains as the config says.
 * @throws UserError for bad input, before the first step wherever it can be known before.
 * @example
 * const { metrics } = await train(loadConfig('config.yaml'), { worker: true });
 */
export async function train(config: Config, { worker = false, ...options }: TrainOptions = {}): Promise<TrainResult> {
  return worker ? await trainApart(config, options) : await trainHere(config, options);
}

async function trainApart(
  config: Config,
  { onEvent, signal, rewards = [], processes, ...options }: Options,
): Promise<TrainResult> {
  if (processes) throw new UserError('processes that train together do so in their own threads: leave worker out');
  if (rewards.length > 0) {
    throw new UserError('rewards that are functions cannot go to a thread', {
      remedy: 'Put them into a file: plugins.',
    });
  }
  const extension = import.meta.url.endsWith('.ts') ? 'ts' : 'js';
  const workerData = { config, options } satisfies TrainingData;
  const thread = new Worker(new URL(`./apart-thread.${extension}`, import.meta.url), { workerData, execArgv: [] });
  const stop = (): void => thread.postMessage('stop');
  const { promise, resolve, reject } = Promise.withResolvers<TrainResult>();
  thread.on('message', (word: TrainingWord) => {
    if (word.kind === 'event') onEvent?.(word.event);
    else if (word.kind === 'done') resolve(word.result);
    else reject(errorOf(word.failure));
  });
  thread.on('error', reject);
  thread.on('exit', (code) => reject(new Error(`the thread of the training ended with code ${code}`)));
  if (signal?.aborted) stop();
  signal?.addEventListener('abort', stop);
  try {
    return await promise;
  } finally {
    signal?.removeEventListener('abort', stop);
    await thread.terminate();
  }
}
