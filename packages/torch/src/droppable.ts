/** Work that may be given up in its middle: a signal ends it between any two operators of libtorch. */
import { setImmediate } from 'node:timers/promises';

import { native } from './native.ts';
import { isSignalled } from './signals.ts';

class Interrupted extends Error {
  constructor() {
    super('interrupted by a signal');
  }
}

/**
 * Does work, which a signal may end before it is done: nothing that must be whole belongs into it.
 * @param signal aborted by the handler of those signals that `watchSignals` (signals.ts) looks out for
 * @throws the signal's reason then
 */
export async function droppable<T>(signal: AbortSignal | undefined, body: () => T): Promise<T> {
  if (!signal) return body();
  const { call, backward } = native;
  const checked =
    <Values extends unknown[], Result>(of: (...values: Values) => Result) =>
    (...values: Values): Result => {
      if (isSignalled()) throw new Interrupted();
      return of(...values);
    };
  Object.assign(native, { call: checked(call), backward: checked(backward) });
  try {
    return body();
  } catch (error) {
    if (!(error instanceof Interrupted)) throw error;
    Object.assign(native, { call, backward });
    // Its handler waits for the event loop.
    for (let turns = 0; turns < 3 && !signal.aborted; turns++) await setImmediate();
    signal.throwIfAborted();
    throw error;
  } finally {
    Object.assign(native, { call, backward });
  }
}
