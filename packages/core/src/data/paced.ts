/** Long work in the main thread that lets the process hear of signals. */

/** Milliseconds after which work makes way for what else the process has to do. */
const TURN = 40;
/** Items between two looks at the clock. */
const LOOK = 16;

export interface PaceOptions {
  readonly signal?: AbortSignal | undefined;
  /** Called now and then, and at the end. */
  readonly onProgress?: ((done: number) => void) | undefined;
}

/** Lets the event loop turn, in which signals arrive. @throws the signal's reason when it is aborted */
export async function breathe(signal?: AbortSignal): Promise<void> {
  await new Promise((done) => setImmediate(done));
  signal?.throwIfAborted();
}

/** Called between items of work that waits for nothing: it makes way now and then. */
export function pacer(signal?: AbortSignal): () => Promise<void> | undefined {
  let turned = performance.now();
  return () => {
    if (performance.now() - turned < TURN) return undefined;
    return breathe(signal).then(() => void (turned = performance.now()));
  };
}

/** What a promise gives, unless the signal is aborted before. @throws the signal's reason then */
export async function orStopped<T>(promise: Promise<T>, signal?: AbortSignal): Promise<T> {
  if (!signal) return await promise;
  signal.throwIfAborted();
  let stop: (() => void) | undefined;
  const stopped = new Promise<never>((_, reject) => {
    stop = () => reject(signal.reason as Error);
    signal.addEventListener('abort', stop);
  });
  try {
    return await Promise.race([promise, stopped]);
  } finally {
    signal.removeEventListener('abort', stop!);
  }
}

/**
 * Visits items one after the other.
 * @throws the signal's reason when it is aborted
 */
export async function paced<T>(
  items: Iterable<T>,
  visit: (item: T, index: number) => void,
  { signal, onProgress }: PaceOptions = {},
): Promise<void> {
  let index = 0;
  let turned = performance.now();
  for (const item of items) {
    visit(item, index++);
    if (index % LOOK !== 0 || performance.now() - turned < TURN) continue;
    onProgress?.(index);
    await breathe(signal);
    turned = performance.now();
  }
  onProgress?.(index);
}
