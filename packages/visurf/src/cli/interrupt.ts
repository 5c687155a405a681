/**
 * Ctrl-C, and what a closed terminal or a scheduler sends instead. The first asks the work to stop at its next safe point,
 * the second stops at once; and where neither is heard, since the event loop is busy, a watch ends the process within a
 * second, unless it holds a step that is still to be saved (@visurf/core/signals).
 */
import { answered, hold, INTERRUPTED, lastWords, leave, stopNow, watchSignals } from '@visurf/core/signals';

export { answered, hold, INTERRUPTED };

export const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

let isSignalled = false;

/** Ends a command that a signal has stopped, when all that it prints has arrived; others end by themselves. */
export async function leaveWhereStopped(code: number): Promise<void> {
  if (!isSignalled) return;
  for (const stream of [process.stdout, process.stderr])
    await new Promise<void>((resolve) => stream.write('', () => resolve()));
  leave(code);
}

/** Ends a command at once that does not say what else is to happen; from here on it ends within a second. */
export function endOnSignals(): void {
  lastWords('stopped: repeat the command to start again');
  for (const name of SIGNALS) {
    process.on(name, () => {
      isSignalled = true;
      if (process.listenerCount(name) === 1) stopNow();
    });
  }
  watchSignals();
}

/** Says what to do next where a signal ends the command, from here on. */
export function whenStopped(next: string): void {
  lastWords(`stopped. ${next}`);
}

export async function interruptible<T>(work: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const controller = new AbortController();
  const stop = () => {
    if (controller.signal.aborted) stopNow();
    console.error('\nstopping at the next safe point; press Ctrl-C again to stop at once');
    controller.abort();
  };
  for (const name of SIGNALS) process.on(name, stop);
  try {
    return await work(controller.signal);
  } finally {
    for (const name of SIGNALS) process.off(name, stop);
    // It has ended by itself, and what is still to be said is said.
    if (controller.signal.aborted) answered();
  }
}

/** Until a command is ended that goes on for ever; what it does then may take its time, which a second signal cuts off. */
export async function untilStopped(): Promise<void> {
  const first = await new Promise<NodeJS.Signals>((resolve) => {
    let isFirst = true;
    const stop = (name: NodeJS.Signals): void => {
      if (!isFirst) stopNow();
      isFirst = false;
      answered();
      resolve(name);
    };
    for (const name of SIGNALS) process.on(name, stop);
  });
  if (first === 'SIGINT') process.exitCode = INTERRUPTED;
}

/**
 * Work that leaves nothing half done when it is stopped: the command then ends with the code of an interruption, and says
 * what to do next.
 * @returns undefined where it was stopped
 */
export async function stoppable<T>(
  work: (signal: AbortSignal) => Promise<T>,
  next = 'Nothing is left of it: repeat the command to start again',
): Promise<T | undefined> {
  whenStopped(next);
  return await interruptible(async (signal) => {
    try {
      return await work(signal);
    } catch (error) {
      if (!signal.aborted || error !== signal.reason) throw error;
      console.error(`\nstopped. ${next}`);
      process.exitCode = INTERRUPTED;
      return undefined;
    }
  });
}
