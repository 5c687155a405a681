/** A question about a picture, to the base and to the best checkpoint of a run; models answer in threads of their own. */
import path from 'node:path';
import type * as Core from '@visurf/core';
import { UserError, messageOf } from '@visurf/core/records';
import sharp from 'sharp';
import type { Model, TryWord } from './answers.ts';

export interface TryRequest {
  /** Its directory, and the model that it was started with. */
  readonly run: string;
  readonly base: string | undefined;
  readonly problem: string;
  /** A picture as its bytes. */
  readonly image: Uint8Array;
  readonly signal: AbortSignal;
  /** Hears what comes of it, as it comes. */
  readonly onWord: (word: TryWord) => void;
}

/** What the library is asked for; it is loaded with the first question, for it needs libtorch. */
type Library = typeof Core;
type Thread = Awaited<ReturnType<typeof openThread>>;

const openThread = ({ loadPolicy }: Library, directory: string) => loadPolicy(directory, { worker: true });

/** Models that are kept ready; another run closes them. */
interface Ready {
  readonly run: string;
  readonly trained: Promise<Thread>;
  readonly base: Promise<Thread | string>;
}

/** Pixels of a picture that are taken. */
const LARGEST = 64_000_000;

export class Trier {
  #ready: Ready | undefined;

  /** @throws UserError for a picture that cannot be read, or a run without a model */
  readonly ask = async (request: TryRequest): Promise<void> => {
    const { run, base, image, onWord } = request;
    onWord({ kind: 'picture', ...(await sizeOf(image)) });
    const library = await import('@visurf/core');
    if (this.#ready?.run !== run) {
      await this.close();
      this.#ready = { run, trained: openThread(library, run), base: openBase(library, run, base) };
    }
    const { trained, base: first } = this.#ready;
    try {
      for (const model of ['base', 'trained'] as const) onWord({ kind: 'state', model, state: 'loading' });
      // The base is asked as the run asks.
      const experiment = trained.then((policy) => library.experimentOf(policy));
      await Promise.all([
        answer(library, 'trained', trained, experiment, request),
        answer(library, 'base', first, experiment, request),
      ]);
    } catch (error) {
      // Whoever asked has gone: the models stay.
      if (!request.signal.aborted) await this.close();
      throw error;
    }
  };

  async close(): Promise<void> {
    const ready = this.#ready;
    this.#ready = undefined;
    for (const each of [ready?.trained, ready?.base]) {
      const thread = await each?.catch(() => undefined);
      if (thread !== undefined && typeof thread !== 'string') thread[Symbol.dispose]();
    }
  }
}

async function answer(
  library: Library,
  model: Model,
  opened: Promise<Thread | string>,
  asked: Promise<ReturnType<Library['experimentOf']>>,
  { problem, image, signal, onWord }: TryRequest,
): Promise<void> {
  const [policy, experiment] = await Promise.all([opened, asked]);
  if (typeof policy === 'string') {
    onWord({ kind: 'none', model, reason: policy });
    return;
  }
  onWord({ kind: 'state', model, state: 'answering' });
  const begun = performance.now();
  const onText = (text: string): void => {
    if (text !== '') onWord({ kind: 'text', model, text });
  };
  const said = await library.predict(policy, { problem, images: [image] }, { experiment, signal, onText });
  const { text, boxes, points } = said;
  onWord({ kind: 'answer', model, text, boxes, points, seconds: (performance.now() - begun) / 1000 });
}

/** The base, or why it cannot be asked: a run that was copied from another machine may have come without it. */
async function openBase(library: Library, run: string, base: string | undefined): Promise<Thread | string> {
  if (base === undefined) return 'the configuration of the run names no base';
  try {
    return await openThread(library, /^[\w.-]+\/[\w.-]+$/.test(base) ? base : path.resolve(run, base));
  } catch (error) {
    return `the base is not here: ${messageOf(error)}`;
  }
}

async function sizeOf(image: Uint8Array): Promise<{ width: number; height: number }> {
  try {
    const { autoOrient } = await sharp(image, { limitInputPixels: LARGEST }).metadata();
    return autoOrient;
  } catch {
    throw new UserError('this is no picture that can be read', { remedy: 'Take a JPEG, PNG or WebP.' });
  }
}
