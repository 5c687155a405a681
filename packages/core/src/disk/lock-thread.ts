/** The thread that renews a lock (lock.ts): it writes the last byte of the claim again, so that its time is now. */
import { closeSync, fstatSync, openSync, writeSync } from 'node:fs';
import { workerData } from 'node:worker_threads';

const { file, interval } = workerData as { readonly file: string; readonly interval: number };

function beat(): void {
  let claim: number;
  try {
    claim = openSync(file, 'r+');
  } catch {
    // Gone: the run was released, or taken for dead.
    clearInterval(timer);
    return;
  }
  try {
    writeSync(claim, '\n', fstatSync(claim).size - 1);
  } finally {
    closeSync(claim);
  }
}

const timer = setInterval(beat, interval);
beat();
