/** A question about a picture, to the base and to the best checkpoint of a run; models answer in threads of their own. */
import path from 'node:path';
import type * as Core from '@visurf/core';
import { UserError, messageOf } from '@visurf/core/records';
import sharp from 'sharp';
import type { TryRequest } from './app.ts';

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

  /** @param base of a run: the model that it was started with, as its configuration names it */
  readonly ask = async ({ run, base, problem, image }: TryRequest): Promise<object> => {
    const library = await import('@visurf/core');
    const { width, height } = await sizeOf(image);
    if (this.#ready?.run !== run) {
      await this.close();
      this.#ready = { run, trained: openThread(library, run), base: openBase(library, run, base) };
    }
    const { trained, base: first } = this.#ready;
    try {
      const [policy, before] = [await trained, await first];
      const experiment = library.experimentOf(policy);
      const asked = { problem, images: [image] };
      const [own, others] = await Promise.all([
        library.predict(policy, asked),
        typeof before === 'string'
          ? { text: before, boxes: [], points: [] }
          : library.predict(before, asked, { experiment }),
      ]);
      return {
        width,
        height,
        answers: [
          { name: 'base', ...others },
          { name: 'trained', ...own },
        ],
      };
    } catch (error) {
      await this.close();
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
