/** The thread that trains (apart.ts). */
import { parentPort, workerData } from 'node:worker_threads';

import { failureOf } from './answers/protocol.ts';
import type { TrainingData, TrainingWord } from './apart.ts';
import { train } from './train.ts';

const { config, options } = workerData as TrainingData;
const port = parentPort!;
const say = (word: TrainingWord): void => port.postMessage(word);
const stopping = new AbortController();
port.on('message', () => stopping.abort());

train(config, { ...options, signal: stopping.signal, onEvent: (event) => say({ kind: 'event', event }) }).then(
  (result) => say({ kind: 'done', result }),
  (error: unknown) => say({ kind: 'failed', failure: failureOf(error) }),
);
