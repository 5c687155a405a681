/** The thread of an index: it grows while nobody asks, and answers in between. */
import { parentPort, workerData } from 'node:worker_threads';
import { GroupIndex } from './group-index.ts';
import type { GroupQuery } from './group-query.ts';
import type { Measured } from './histograms.ts';

export type Ask =
  | { readonly kind: 'query'; readonly query: GroupQuery }
  | { readonly kind: 'read'; readonly step: number; readonly place: number }
  | { readonly kind: 'history'; readonly id: string }
  | { readonly kind: 'suspects'; readonly limit: number }
  | { readonly kind: 'histogram'; readonly what: Measured; readonly columns: number }
  | { readonly kind: 'recheck' };

/** Milliseconds between looks at a folder in which nothing is new. */
const IDLE = 500;

const port = parentPort;
if (!port) throw new Error('this file runs as a thread');
const { directory, file } = workerData as { directory: string; file: string };
const index = new GroupIndex(directory, file);

port.on('message', ({ number, ask }: { number: number; ask: Ask }) => {
  try {
    port.postMessage({ number, answer: answer(ask) });
  } catch (error) {
    port.postMessage({ number, error: String(error) });
  }
});

function answer(ask: Ask): unknown {
  switch (ask.kind) {
    case 'query':
      return index.query(ask.query);
    case 'read':
      return index.read(ask.step, ask.place);
    case 'history':
      return index.history(ask.id);
    case 'suspects':
      return index.suspects(ask.limit);
    case 'histogram':
      return index.histogram(ask.what, ask.columns);
    case 'recheck':
      index.recheck();
      return undefined;
  }
}

function grow(): void {
  let more = false;
  try {
    more = index.advance();
  } catch {
    // A file that went away while it was read; it is looked at again.
  }
  setTimeout(grow, more ? 0 : IDLE);
}
grow();
