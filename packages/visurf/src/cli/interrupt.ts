/** Ctrl-C: the first asks the work to stop at its next safe point, the second stops at once. */

/** By convention 128 plus the number of SIGINT. */
export const INTERRUPTED = 130;

export async function interruptible<T>(work: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const controller = new AbortController();
  const stop = () => {
    if (controller.signal.aborted) process.exit(INTERRUPTED);
    console.error('\nstopping after this step; press Ctrl-C again to stop at once');
    controller.abort();
  };
  process.on('SIGINT', stop).on('SIGTERM', stop);
  try {
    return await work(controller.signal);
  } finally {
    process.off('SIGINT', stop).off('SIGTERM', stop);
  }
}
