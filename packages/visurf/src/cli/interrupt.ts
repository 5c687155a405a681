/** Ctrl-C, and what a closed terminal or a scheduler sends instead: the first asks the work to stop at its next safe point, the second stops at once. */

/** 128 plus the number of SIGINT, by convention. */
export const INTERRUPTED = 130;

const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

/** Ends a command at once that does not say what else is to happen. */
export function endOnSignals(): void {
  for (const name of SIGNALS) {
    process.on(name, () => {
      if (process.listenerCount(name) > 1) return;
      console.error('\nstopped: repeat the command to start again');
      process.exit(INTERRUPTED);
    });
  }
}

export async function interruptible<T>(work: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const controller = new AbortController();
  const stop = () => {
    if (controller.signal.aborted) process.exit(INTERRUPTED);
    console.error('\nstopping at the next safe point; press Ctrl-C again to stop at once');
    controller.abort();
  };
  for (const name of SIGNALS) process.on(name, stop);
  try {
    return await work(controller.signal);
  } finally {
    for (const name of SIGNALS) process.off(name, stop);
  }
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
