/**
 * Who frees a handle. Inside `scope` the scope does, at its end; outside, the garbage collector does, late: a long
 * synchronous loop without a scope holds everything it made until the event loop turns.
 */
import { native, type DeviceMemory } from './native.ts';
import type { Device, Tensor } from './tensor.ts';

let current: Tensor[] | undefined;
const registry = new FinalizationRegistry<number>((handle) => {
  native.dispose(handle);
});

/** Gives a new tensor to the scope that is open, or to the garbage collector. @internal */
export function adopt(tensor: Tensor): void {
  if (current) current.push(tensor);
  else registry.register(tensor, tensor.handle, tensor);
}

/** Takes a tensor that is being disposed out of the garbage collector's hands. @internal */
export function disown(tensor: Tensor): void {
  registry.unregister(tensor);
}

/** The tensors in a value, through arrays, maps and plain objects. */
function collect(value: unknown, into: Set<object>): void {
  if (typeof value !== 'object' || value === null || ArrayBuffer.isView(value) || into.has(value)) return;
  into.add(value);
  if (Array.isArray(value)) for (const element of value) collect(element, into);
  else if (value instanceof Map) for (const element of value.values()) collect(element, into);
  else if (Object.getPrototypeOf(value) === Object.prototype) {
    for (const element of Object.values(value)) collect(element, into);
  }
}

const isThenable = (value: unknown): boolean =>
  typeof value === 'object' && value !== null && 'then' in value && typeof value.then === 'function';

/**
 * Runs `body` and frees every tensor made inside, except those it returns (also inside arrays, maps and plain objects)
 * and those that `keep` was called for. Freeing a handle never invalidates the graph of a result.
 * @throws TypeError when `body` returns a Promise: scopes that interleave would free each other's tensors.
 */
export function scope<T>(body: () => T): T {
  const outer = current;
  const mine: Tensor[] = [];
  current = mine;
  let result: T | undefined;
  try {
    result = body();
    if (isThenable(result)) {
      throw new TypeError('scope() is synchronous: await outside of it, or hold tensors with `using`');
    }
    return result;
  } finally {
    current = outer;
    const survivors = new Set<object>();
    collect(result, survivors);
    if (freed.length < mine.length) freed = new Uint32Array(2 * mine.length);
    let count = 0;
    for (const tensor of mine) {
      if (tensor.handle === 0 || tensor.kept) continue;
      if (survivors.has(tensor)) {
        adopt(tensor);
        continue;
      }
      freed[count++] = tensor.handle;
      tensor.handle = 0;
    }
    native.disposeAll(freed, count);
  }
}
/** Handles that a scope frees in one call. */
let freed = new Uint32Array(256);

/** Lets a tensor outlive every scope that is open; `dispose` or the garbage collector frees it. */
export function keep<T extends Tensor>(tensor: T): T {
  if (!tensor.kept) {
    tensor.kept = true;
    // Made outside of every scope it is registered already, and must be freed once.
    registry.unregister(tensor);
    registry.register(tensor, tensor.handle, tensor);
  }
  return tensor;
}

/** Handles that are alive in this thread, and the bytes of the storages on the CPU that came into being with them. */
export const live = (): { handles: number; bytes: number } => native.live();

/**
 * Bytes of tensors on a device, of all threads, what autograd keeps included; `peak` is the highest since the last
 * `resetPeakAllocated` for that device.
 */
export function allocated(device: Device = 'cpu'): { bytes: number; peak: number } {
  const own = native.deviceMemory(device);
  return own ? { bytes: own.allocated, peak: own.peak } : native.allocated();
}

export function resetPeakAllocated(device: Device = 'cpu'): void {
  if (native.deviceMemory(device)) native.resetDevicePeak(device);
  else native.resetPeakAllocated();
}

/** Undefined for the CPU. */
export const deviceMemory = (device: Device): DeviceMemory | undefined => native.deviceMemory(device);
