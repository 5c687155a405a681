/**
 * Work that may be given up in its middle: a signal ends it between any two operators of libtorch, in a backward pass
 * between any two nodes of its graph.
 */
import { setImmediate } from 'node:timers/promises';

import { native, TorchError } from './native.ts';
import { isSignalled, unansweredSignals } from './signals.ts';

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
  const { call, backward, grad } = native;
  const checked =
    <Values extends unknown[], Result>(of: (...values: Values) => Result) =>
    (...values: Values): Result => {
      if (isSignalled()) throw new Interrupted();
      try {
        return of(...values);
      } catch (error) {
        throw error instanceof TorchError && isSignalled() ? new Interrupted() : error;
      }
    };
  const cut = unansweredSignals();
  Object.assign(native, {
    call: checked(call),
    backward: checked((outputs, gradients, retain) => backward(outputs, gradients, retain, cut)),
    grad: checked((outputs, inputs, gradients, retain, create, unused) =>
      grad(outputs, inputs, gradients, retain, create, unused, cut),
    ),
  } satisfies Partial<typeof native>);
  const restore = (): void => void Object.assign(native, { call, backward, grad });
  try {
    return body();
  } catch (error) {
    if (!(error instanceof Interrupted)) throw error;
    restore();
    // Its handler waits for the event loop.
    for (let turns = 0; turns < 3 && !signal.aborted; turns++) await setImmediate();
    signal.throwIfAborted();
    throw error;
  } finally {
    restore();
  }
}
