/** The thread that draws masks: pictures in, masks out, one after the other. */
import { parentPort, workerData } from 'node:worker_threads';
import { messageOf, UserError } from '../errors.ts';
import type { Mask } from './masks.ts';
import { Sam2, type Outlined } from './sam2.ts';

/** The masks of what a picture shows. */
export interface Request {
  readonly id: number;
  readonly file: string;
  readonly objects: readonly Outlined[];
}

export type Reply =
  | { readonly id: number; readonly mask: Mask }
  | {
      readonly id: number;
      readonly error: { reason: string; where?: string | undefined; remedy?: string | undefined };
      readonly isUsers: boolean;
    };

export interface WorkerData {
  readonly source: string;
  readonly cache: string;
}

const { source, cache } = workerData as WorkerData;
const port = parentPort!;
let opened: Promise<Sam2> | undefined;
let last: Promise<unknown> = Promise.resolve();

async function answer({ id, file, objects }: Request): Promise<Reply> {
  try {
    opened ??= Sam2.open(source, cache);
    return { id, mask: await (await opened).union(file, objects) };
  } catch (error) {
    const isUsers = error instanceof UserError;
    const { reason, where, remedy } = isUsers ? error : { reason: messageOf(error) };
    return { id, error: { reason, where, remedy }, isUsers };
  }
}

port.on('message', (request: Request) => {
  last = last.then(async () => {
    port.postMessage(await answer(request));
  });
});
