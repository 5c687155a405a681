/**
 * SAM2 in a thread of its own, so that neither preparing pictures nor scaling masks stands in the way of training. It starts
 * with the first picture and keeps no program alive.
 */
import path from 'node:path';
import { homedir } from 'node:os';
import { Worker } from 'node:worker_threads';
import { UserError } from '../errors.ts';
import type { Mask } from './masks.ts';
import type { Outlined } from './sam2.ts';
import type { Reply, Request, WorkerData } from './worker.ts';

/** Where embeddings of pictures are kept, of all models. */
const cacheFolder = (): string =>
  path.join(process.env.XDG_CACHE_HOME ?? path.join(homedir(), '.cache'), 'visurf', 'embeddings');

interface Waiting {
  readonly resolve: (mask: Mask) => void;
  readonly reject: (error: Error) => void;
}

class Segmenter {
  readonly #waiting = new Map<number, Waiting>();
  readonly #data: WorkerData;
  #worker: Worker | undefined;
  #asked = 0;

  constructor(source: string) {
    this.#data = { source, cache: cacheFolder() };
  }

  /**
   * What the objects of a picture cover together; of none the empty mask.
   * @throws UserError where the package, the export or the picture cannot be used
   */
  union(file: string, objects: readonly Outlined[]): Promise<Mask> {
    const worker = (this.#worker ??= this.#start());
    const request: Request = { id: this.#asked++, file, objects };
    return new Promise((resolve, reject) => {
      this.#waiting.set(request.id, { resolve, reject });
      worker.ref();
      worker.postMessage(request);
    });
  }

  #start(): Worker {
    const extension = import.meta.url.endsWith('.ts') ? 'ts' : 'js';
    const worker = new Worker(new URL(`./worker.${extension}`, import.meta.url), {
      workerData: this.#data,
      execArgv: [],
    });
    worker.unref();
    worker.on('message', (reply: Reply) => {
      const waiting = this.#waiting.get(reply.id);
      this.#waiting.delete(reply.id);
      if (this.#waiting.size === 0) worker.unref();
      if ('mask' in reply) waiting?.resolve(reply.mask);
      else {
        const { reason, ...details } = reply.error;
        waiting?.reject(reply.isUsers ? new UserError(reason, details) : new Error(reason));
      }
    });
    worker.on('error', (error) => {
      if (this.#worker === worker) this.#worker = undefined;
      const waiting = [...this.#waiting.values()];
      this.#waiting.clear();
      for (const { reject } of waiting) reject(error as Error);
    });
    return worker;
  }
}

const known = new Map<string, Segmenter>();

/** The one for an export: a directory, or `owner/name` on the hub. */
export function segmenterOf(source: string): Pick<Segmenter, 'union'> {
  const segmenter = known.get(source) ?? new Segmenter(source);
  known.set(source, segmenter);
  return segmenter;
}
