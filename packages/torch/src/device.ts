/** Where new tensors are made, and how a device computes. */
import { native } from './native.ts';
import type { Device } from './tensor.ts';

let ambient: Device = 'cpu';

/** The device of factories that are given none. */
export const currentDevice = (): Device => ambient;

/**
 * Runs `body`, whose factories make tensors on `device` unless they are given another.
 * @throws TypeError when `body` returns a Promise: what runs meanwhile would make its tensors there, too.
 * @example
 * const mask = withDevice(x.device, () => ones([4]).triu());
 */
export function withDevice<T>(device: Device, body: () => T): T {
  const before = ambient;
  ambient = device;
  try {
    const result = body();
    if (result instanceof Promise) throw new TypeError('withDevice ends with a synchronous function: await outside');
    return result;
  } finally {
    ambient = before;
  }
}

/** Runs `body` with kernels that give the same bits for the same numbers, also on a GPU, which is otherwise free to differ. */
export function deterministic<T>(body: () => T): T {
  const before = native.setDeterministic(true);
  try {
    return body();
  } finally {
    native.setDeterministic(before);
  }
}
