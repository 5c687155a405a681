/** Work on a device that is done again and again, with other numbers in the same tensors. */
import { native } from './native.ts';
import { scope } from './scope.ts';
import type { Device } from './tensor.ts';

export interface Recording extends Disposable {
  /** Does the work once more. */
  replay(): void;
}

/**
 * Notes what `body` asks of a GPU, so that it can be asked for as a whole (a CUDA graph): thousands of kernels then take
 * one launch. Nothing is done yet. `body` may neither read numbers nor bring any from the host, its tensors are its own,
 * and what it is to leave behind it writes into tensors that were there before; it must have run once, so that what
 * libtorch makes on first use is made. On other devices, and without the headers of CUDA, `replay` runs `body`.
 * @throws TorchError where the device is asked for what cannot be recorded
 */
export function record(device: Device, body: () => void): Recording {
  if (!device.startsWith('cuda') || !native.canRecord()) {
    return { replay: () => scope(body), [Symbol.dispose]: () => undefined };
  }
  const id = native.beginRecording(device);
  const dispose = (): void => native.disposeRecording(id);
  try {
    scope(body);
    native.endRecording(id);
  } catch (error) {
    // Breaks off what `body` left open: the device works for others again.
    dispose();
    throw error;
  }
  return { replay: () => native.replay(id), [Symbol.dispose]: dispose };
}
