/**
 * Processes that train together, as the stages of a step see them. Each takes its share of the prompts, all know the same of
 * the whole, and all come to every exchange, in the same order. A process that is `alone` has all of it, and exchanges nothing.
 */
import { setTimeout } from 'node:timers/promises';

import type { distributed } from '@visurf/torch';

export interface Processes {
  /** From 0; the first writes the run. */
  readonly rank: number;
  readonly size: number;
  /** What they exchange tensors by; undefined for one that is alone. */
  readonly group: distributed.ProcessGroup | undefined;
  /** What every process says, in the order of ranks. */
  gather<T>(value: T): Promise<T[]>;
  /** Numbers of all, added up one by one. */
  sum(numbers: readonly number[]): Promise<number[]>;
  max(number: number): Promise<number>;
  /**
   * Does this process's part of something that all do. Where the part of one is stopped, or not finite, it is so in all.
   * @throws the signal's reason, or NotFinite, in all; whatever else in the process that it happens in
   */
  together<T>(part: () => T | Promise<T>): Promise<T>;
  /** Whether the signal of any is aborted. Then that of all is. */
  stops(signal: AbortSignal | undefined): Promise<boolean>;
}

export const alone: Processes = {
  rank: 0,
  size: 1,
  group: undefined,
  gather: (value) => Promise.resolve([value]),
  sum: (numbers) => Promise.resolve([...numbers]),
  max: (number) => Promise.resolve(number),
  together: async (part) => await part(),
  stops: (signal) => Promise.resolve(signal?.aborted ?? false),
};

/** What belongs to this process: dealt like cards, so that prompts of one kind, which stand together, are spread. */
export const share = <T>({ rank, size }: Pick<Processes, 'rank' | 'size'>, all: readonly T[]): T[] =>
  all.filter((_, i) => i % size === rank);

/** The list that was dealt, from its shares in the order of ranks. */
export function whole<T>(shares: readonly (readonly T[])[]): T[] {
  const longest = Math.max(...shares.map(({ length }) => length));
  return Array.from({ length: longest }, (_, i) => shares.flatMap((own) => own.slice(i, i + 1))).flat();
}

/** Does it in the first process alone, and tells the others what came of it (a structured clone). */
export async function byFirst<T>(processes: Processes, work: () => T | Promise<T>): Promise<T> {
  const said = await processes.gather(processes.rank === 0 ? { value: await work() } : undefined);
  return said[0]!.value;
}

/** Milliseconds after which those that wait for the first process hear that it is still there. */
const TURN = 1000;

/** Of the first process: the others wait for its work (`waitForFirst`), however long that takes. */
export async function keepOthers(processes: Processes, work: Promise<unknown>): Promise<void> {
  let isDone = false;
  while (!isDone) {
    isDone = await Promise.race([work.then(() => true), setTimeout(TURN, false, { ref: false })]);
    await processes.gather(isDone);
  }
}

/** Comes back when the work of the first process is done. */
export async function waitForFirst(processes: Processes): Promise<void> {
  while (!(await processes.gather(true))[0]);
}
