/**
 * SIGINT, SIGTERM and SIGHUP, also while the event loop is busy: `watchSignals` starts a thread that ends the process a
 * moment after a signal, unless someone has `answered` it or holds the process. Everything here is of one process, and
 * does nothing before `watchSignals`. It needs no libtorch.
 */
import { createRequire } from 'node:module';
import { isMainThread } from 'node:worker_threads';
import { smallAddon } from '../scripts/prebuilt.mjs';

/** The exit code of a program that was interrupted: 128 plus the number of SIGINT, by convention. */
export const INTERRUPTED = 130;

/** Milliseconds between a signal and the end: with what comes before and after, less than a second. */
const GRACE = 600;

/** Places of the numbers that are shared with the thread. */
const [UNANSWERED, HELD] = [0, 1];

interface Native {
  start(milliseconds: number): ArrayBuffer;
  speak(lastWords: string, patience: string): void;
  keep(isThere: boolean, what: string | number): void;
  stop(): never;
  leave(code: number): never;
}

let native: Native | undefined;
let shared = new Int32Array(2);
let words: readonly [string, string] = ['', ''];

/** Starts the watch; handlers of the three signals must be there already. Where it is not built, signals wait for the event loop. */
export function watchSignals(): void {
  const path = native || !isMainThread ? undefined : smallAddon('signals');
  if (path === undefined) return;
  try {
    native = createRequire(import.meta.url)(path) as Native;
    shared = new Int32Array(native.start(GRACE));
    native.speak(...words);
  } catch {
    // Of another machine: what needs the addon says how to build it.
    native = undefined;
  }
}

/** Whether a signal has come that nobody has answered. */
export const isSignalled = (): boolean => Atomics.load(shared, UNANSWERED) > 0;

/** The number of signals that nobody has answered, as its first element: for native code, which sees it as it changes. */
export const unansweredSignals = (): Int32Array => shared.subarray(UNANSWERED, UNANSWERED + 1);

/** Someone does what the signals ask for: the process goes on. */
export const answered = (): void => void Atomics.store(shared, UNANSWERED, 0);

/** Work that must be finished, such as saving what would be lost: until it is disposed only a second signal ends the process. */
export function hold(): Disposable {
  Atomics.add(shared, HELD, 1);
  let isHeld = true;
  return {
    [Symbol.dispose]: () => {
      if (isHeld) Atomics.sub(shared, HELD, 1);
      isHeld = false;
    },
  };
}

/** What is said where the process is ended, and where it first has to finish something. */
export function lastWords(
  text: string,
  patience = 'finishing what must not be lost; press Ctrl-C again to stop at once',
): void {
  words = [`\n${text}\n`, `\n${patience}\n`];
  native?.speak(...words);
}

/** Ends the process as the watch does. */
export function stopNow(): never {
  native?.stop();
  process.stderr.write(words[0]);
  process.exit(INTERRUPTED);
}

/**
 * Ends a process that is done, once listeners of its exit have been heard: Node.js itself would first write down what it has
 * compiled, which takes most of a second where nothing is known yet.
 */
export function leave(code: number): never {
  process.emit('exit', code);
  native?.leave(code);
  process.exit(code);
}

/** A file or a folder that is removed, or a process that is killed, where this one is ended. */
export const kept = (what: string | number): void => native?.keep(true, what);

/** It is not there any more, or is to stay. */
export const gone = (what: string | number): void => native?.keep(false, what);

/** What is removed where the process is ended before the body is done. */
export function removing<T>(what: string, body: () => T): T {
  kept(what);
  const done = (): void => gone(what);
  try {
    const result = body();
    if (!(result instanceof Promise)) done();
    else return result.finally(done) as T;
    return result;
  } catch (error) {
    done();
    throw error;
  }
}
