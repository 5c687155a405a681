/**
 * What processes of this machine reach together, measured by as many: products, calls, and what training exchanges. In
 * processor time, so that other programs are not in it.
 */
import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { availableParallelism } from 'node:os';

import { freePort } from '@visurf/torch/ports';
import { gone, kept } from '@visurf/torch/signals';

import { UserError } from '../errors.ts';
import type { Precision } from '../model/projection.ts';
import type { Together } from '../plan/processes.ts';
import type { Rates } from '../plan/time.ts';

/** What each of them is asked. */
export interface Probe {
  readonly rank: number;
  readonly size: number;
  readonly port: number;
  readonly precision: Precision;
  /** Whether gradients are shared out (ZeRO-2), or added up in each. */
  readonly isSharded: boolean;
  /** Elements that are exchanged. */
  readonly elements: number;
  /** Of products. */
  readonly rows: readonly number[];
}

/** What each of them says: processor seconds, and operations per second. */
export type Probed = Omit<Together, 'rates'> & Pick<Rates, 'call' | 'byte'> & { readonly products: readonly number[] };

/** More processes than these, for which a machine may have cards, never share its processors. */
const most = (): number => Math.max(16, availableParallelism());

/** Processor threads that one of several processes gets, unless somebody says. */
const threadsOf = (processes: number): number => Math.max(1, Math.floor(availableParallelism() / processes));

/** A product is measured for so many rows; others have the rate of the nearest. */
export const roundedRows = (rows: number): number =>
  2 ** Math.min(10, Math.max(0, Math.round(Math.log2(Math.max(1, rows)))));

/**
 * @param rows of the products that will be asked for
 * @throws UserError for too many processes, and where one cannot be started, or is gone
 */
export async function calibrate(
  asked: Omit<Probe, 'rank' | 'port' | 'rows'> & { readonly threads: number | undefined },
  rows: readonly number[],
  signal?: AbortSignal,
): Promise<Together> {
  const { size, threads: wanted = process.env.OMP_NUM_THREADS ?? threadsOf(size) } = asked;
  if (size > most()) {
    throw new UserError(`${size} processes are more than are started here to measure: ${most()} at most`, {
      where: '--processes',
      remedy: 'Plan for fewer, or say a rate with --gflops.',
    });
  }
  const sizes = [...new Set(rows.map(roundedRows))];
  const threads = String(wanted);
  const port = await freePort();
  const children = Array.from({ length: size }, () => start(threads));
  const stop = (): void => children.forEach((each) => each.kill('SIGKILL'));
  signal?.addEventListener('abort', stop);
  try {
    const said = await Promise.all(
      children.map((child, rank) => ask(child, { ...asked, rank, port, rows: sizes }, signal)),
    );
    // Exchanges keep processors busy: as long as they do the process with most, or all of them together.
    const slowest = (of: (each: Probed) => number): number =>
      Math.max(...said.map(of), said.reduce((sum, each) => sum + of(each), 0) / availableParallelism());
    // More threads than processors take turns.
    const turn = Math.min(1, availableParallelism() / (size * Number(threads)));
    // One of them may have been kept waiting all the time.
    const middle = (of: (each: Probed) => number): number => said.map(of).sort((a, b) => a - b)[said.length >> 1]!;
    const rates = new Map(sizes.map((each, i) => [each, turn * middle(({ products }) => products[i]!)]));
    return {
      rates: {
        product: (each) => rates.get(roundedRows(each))!,
        call: middle(({ call }) => call) / turn,
        byte: middle(({ byte }) => byte) / turn,
      },
      ...{ gradients: slowest((each) => each.gradients), weights: slowest((each) => each.weights) },
      hop: slowest(({ hop }) => hop),
    };
  } finally {
    signal?.removeEventListener('abort', stop);
    stop();
  }
}

function start(threads: string): ChildProcess {
  const extension = import.meta.url.endsWith('.ts') ? 'ts' : 'js';
  const child = fork(new URL(`./process.${extension}`, import.meta.url), {
    ...{ execArgv: [], serialization: 'advanced', stdio: ['ignore', 'ignore', 'inherit', 'ipc'] },
    env: { ...process.env, OMP_NUM_THREADS: threads },
  });
  const { pid } = child;
  if (pid !== undefined) {
    kept(pid);
    child.once('exit', () => gone(pid));
  }
  return child;
}

async function ask(child: ChildProcess, probe: Probe, signal: AbortSignal | undefined): Promise<Probed> {
  const left = once(child, 'exit').then(() => undefined);
  child.send(probe);
  const said = (await Promise.race([once(child, 'message'), left])) as [Probed] | undefined;
  signal?.throwIfAborted();
  if (said) return said[0];
  throw new UserError(`process ${probe.rank} of ${probe.size} is gone before it has measured anything`, {
    where: '--processes',
    remedy: 'Plan for fewer processes, or say a rate with --gflops.',
  });
}
