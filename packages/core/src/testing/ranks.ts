/** Processes that train together, for tests: started once, they join as often as asked, as many as asked. */
import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';

import { freePort } from '@visurf/torch/ports';

/** What the first processes are to do together. */
export interface Job {
  readonly size: number;
  /** Of a configuration, as a file has them. */
  readonly values: object;
  /** Of the others, where those are started otherwise than the first. */
  readonly others?: object;
  /** The code that the others say they run. */
  readonly othersCode?: string;
  readonly resume?: boolean;
  /** Seconds that the others may take; 600 unless said. */
  readonly timeout?: number;
  /** The process that stops by its signal as this step has been made. */
  readonly stop?: { readonly rank: number; readonly step: number };
}

/** What became of it in one of them. */
export interface Done {
  readonly result?: { readonly steps: number; readonly interrupted: boolean; readonly metrics: Record<string, number> };
  readonly error?: { readonly name: string; readonly message: string };
}

/** What is said to a process. */
export type Order = Job & { readonly rank: number; readonly port: number };

export class Ranks implements Disposable {
  readonly #children: ChildProcess[];
  /** The one before, also where its test has not waited for it. */
  #last: Promise<unknown> = Promise.resolve();

  constructor(most: number) {
    this.#children = Array.from({ length: most }, () =>
      fork(new URL('./ranks-process.ts', import.meta.url), {
        env: { ...process.env, OMP_NUM_THREADS: '1' },
        execArgv: [],
        serialization: 'advanced',
      }),
    );
  }

  /** @returns what became of it in each process, in the order of ranks */
  run(job: Job): Promise<Done[]> {
    const next = this.#last.then(() => this.#run(job));
    this.#last = next.catch(() => undefined);
    return next;
  }

  async #run(job: Job): Promise<Done[]> {
    const port = await freePort();
    return await Promise.all(
      this.#children.slice(0, job.size).map(async (child, rank) => {
        const values = (rank > 0 ? job.others : undefined) ?? job.values;
        child.send({ ...job, values, rank, port } satisfies Order);
        const [said] = (await once(child, 'message')) as [Done];
        return said;
      }),
    );
  }

  [Symbol.dispose](): void {
    for (const each of this.#children) each.kill('SIGKILL');
  }
}
