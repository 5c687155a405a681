/**
 * Computer algebra for what the exact comparison leaves open, in a thread of its own: algebra can take for ever and all
 * memory, so the thread is ended when a comparison takes too long, and the next one starts another.
 *
 * The thread starts with the first question and keeps no program alive. A question blocks until it is answered: a few
 * milliseconds after the first.
 */
import { Worker } from 'node:worker_threads';
import { sameValue } from './value.ts';

/** Milliseconds until the thread must be ready, and until it must have an answer. */
const START_LIMIT = 60_000;
const ANSWER_LIMIT = 2_000;
/** Characters of an answer. */
const MAX_LENGTH = 400;
const MAX_CACHED = 10_000;
const MAX_HEAP_MEGABYTES = 256;

/** What the thread is asked; it writes an outcome into the cell. */
export interface Equality {
  readonly a: string;
  readonly b: string;
  readonly cell: Int32Array<SharedArrayBuffer>;
}

export const OUTCOMES = { open: 0, different: 1, same: 2 } as const;

const newCell = (): Equality['cell'] => new Int32Array(new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT));

let running: Worker | undefined;
const cache = new Map<string, boolean | undefined>();

/** @throws Error where the thread does not come up: a failure of ours, which must not look like wrong answers */
function start(): Worker {
  const ready = newCell();
  const extension = import.meta.url.endsWith('.ts') ? 'ts' : 'js';
  const worker = new Worker(new URL(`./algebra-thread.${extension}`, import.meta.url), {
    workerData: ready,
    execArgv: [],
    // What the library may print is not for our output.
    stdout: true,
    resourceLimits: { maxOldGenerationSizeMb: MAX_HEAP_MEGABYTES },
  });
  worker.unref();
  worker.on('error', () => {
    if (running === worker) running = undefined;
  });
  if (Atomics.wait(ready, 0, 0, START_LIMIT) === 'timed-out')
    throw new Error('the thread for computer algebra did not start');
  return worker;
}

function ask(a: string, b: string): boolean | undefined {
  const equality: Equality = { a, b, cell: newCell() };
  running ??= start();
  running.postMessage(equality);
  if (Atomics.wait(equality.cell, 0, OUTCOMES.open, ANSWER_LIMIT) === 'timed-out') {
    void running.terminate();
    running = undefined;
    return undefined;
  }
  return Atomics.load(equality.cell, 0) === OUTCOMES.same;
}

/** Whether two answers are the same by computer algebra; undefined where it finds out too slowly. Verdicts are kept. */
export function sameValueSymbolically(a: string, b: string): boolean | undefined {
  if (a.length > MAX_LENGTH || b.length > MAX_LENGTH) return undefined;
  const key = JSON.stringify([a, b]);
  if (cache.has(key)) return cache.get(key);
  const verdict = ask(a, b);
  if (cache.size >= MAX_CACHED) cache.clear();
  cache.set(key, verdict);
  return verdict;
}

/** What only the library reads. */
export const usesCalculus = (text: string): boolean => /\\(?:int|sum|prod|lim)(?![a-zA-Z])|\\frac\{d\}\{d/.test(text);

/** Whether an answer is the true one: exactly, else by computer algebra where formulas differ in form. */
export function sameAnswer(said: string, truth: string): boolean {
  let isOpen = usesCalculus(said) || usesCalculus(truth);
  const noted = (): boolean => {
    isOpen = true;
    return false;
  };
  return sameValue(said, truth, noted) || (isOpen && sameValueSymbolically(said, truth) === true);
}
