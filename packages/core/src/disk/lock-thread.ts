/** The thread that renews a lock (lock.ts): it writes the last byte of the claim again, so that its time is now. */
import { closeSync, fstatSync, openSync, writeSync } from 'node:fs';
import { workerData } from 'node:worker_threads';

const { file, interval } = workerData as { readonly file: string; readonly interval: number };

function beat(): void {
  try {
    const claim = openSync(file, 'r+');
    try {
      writeSync(claim, '\n', fstatSync(claim).size - 1);
    } finally {
      closeSync(claim);
    }
  } catch (error) {
    // Released, or taken for dead. Whatever else there is may be over by the next time.
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') clearInterval(timer);
  }
}

const timer = setInterval(beat, interval);
beat();
