/**
 * `--processes N`: the ranks of one training as processes below the command, which begin and end together. They find each
 * other as they would below torchrun, by RANK, WORLD_SIZE, MASTER_ADDR, MASTER_PORT.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { availableParallelism } from 'node:os';
import { answered, freePort, gone, kept } from '@visurf/core/signals';
import { INTERRUPTED, SIGNALS, whenStopped } from './interrupt.ts';
import { LAUNCHER, type Told } from './rank.ts';

/** Milliseconds that the others have to end by themselves once a rank is gone, and after that before they are killed. */
const PATIENCE = 10_000;
const LAST = 20_000;
/** Milliseconds after a second signal. */
const HURRY = 3_000;
/** Of what a rank says to nobody, characters that are kept. */
const TAIL = 4000;

interface Rank {
  readonly rank: number;
  readonly child: ChildProcess;
  /** What it failed with, as it told it. */
  error: string | undefined;
  /** What it, or a library in it, wrote last. */
  said: string;
  end: { readonly code: number | null; readonly signal: NodeJS.Signals | null } | undefined;
}

/** Starts `size` ranks of this very command, and waits for all. @param again what to type where nothing has begun */
export async function launchRanks(size: number, again: string): Promise<void> {
  const port = await freePort();
  let next = again;
  const ranks = Array.from({ length: size }, (_, rank) => start(rank, size, port));
  ranks[0]?.child.on('message', (told: Told) => (next = told.next ?? next));
  let signals = 0;
  const timers: NodeJS.Timeout[] = [];
  const later = (milliseconds: number, name: NodeJS.Signals): void =>
    void timers.push(setTimeout(() => send(ranks, name), milliseconds));
  const forward = (name: NodeJS.Signals): void => {
    answered();
    send(ranks, name);
    if (++signals === 2) later(HURRY, 'SIGKILL');
  };
  whenStopped(again);
  for (const name of SIGNALS) process.on(name, forward);
  let first: Rank | undefined;
  try {
    await Promise.all(
      ranks.map(async (each) => {
        await ended(each);
        // Rank 0 has the most to do: those that end well before it do no harm.
        if (first || (isWell(each) && each.rank > 0)) return;
        first = each;
        if (signals === 0) later(PATIENCE, 'SIGTERM');
        later(PATIENCE + LAST, 'SIGKILL');
      }),
    );
  } finally {
    for (const timer of timers) clearTimeout(timer);
    for (const name of SIGNALS) process.off(name, forward);
  }
  process.exitCode = conclude(ranks, first, signals > 0, { next, hasBegun: next !== again });
}

/** @returns the exit code of the command */
function conclude(
  ranks: readonly Rank[],
  first: Rank | undefined,
  isStopped: boolean,
  { next, hasBegun }: { readonly next: string; readonly hasBegun: boolean },
): number {
  const [main] = ranks as [Rank, ...Rank[]];
  if (!first || ranks.every(isWell)) return 0;
  // Whatever ranks fall over that end at different moments.
  if (isStopped) {
    if (main.end?.code !== INTERRUPTED) console.error(`stopped. ${next}`);
    return INTERRUPTED;
  }
  // Where all fail alike, or over the same rank, rank 0 has said it.
  const own = ranks.filter(
    ({ rank, error }) => rank > 0 && error !== undefined && !isSaidIn(error, main.error) && !misses(error, main),
  );
  const unsaid = own.filter(({ error }, i) => own.findIndex((other) => other.error === error) === i);
  for (const { rank, error } of unsaid) console.error(`rank ${rank}: ${error}`);
  const isAlike = first.error !== undefined && main.error !== undefined && unsaid.length === 0;
  if (isAlike) {
    if (hasBegun) console.error(next);
  } else {
    const words = first.error === undefined && first.said !== '' ? `; its last words:\n${first.said.trimEnd()}\n` : '';
    console.error(`error: rank ${first.rank} ${howEnded(first)}${words}${words === '' ? '. ' : ''}${next}`);
  }
  return first.end?.code ?? 1;
}

/** Whether one of two errors is about the other: it quotes its first line. */
function isSaidIn(error: string, other: string | undefined): boolean {
  const [own = '', said = ''] = [error, other].map((each) => each?.replace(/^error: /, '').split('\n')[0]);
  return other !== undefined && (said.includes(own) || own.includes(said));
}

/** Whether an error is that rank 0 is missed, which has said itself why it has ended. */
const misses = (error: string, main: Rank): boolean => main.error !== undefined && error.startsWith('error: rank 0 ');

const isWell = ({ end }: Rank): boolean => end?.code === 0;

const howEnded = ({ end }: Rank): string =>
  end?.signal ? `was ended by ${end.signal}` : `ended with code ${end?.code ?? 1}`;

function start(rank: number, size: number, port: number): Rank {
  const threads = process.env.OMP_NUM_THREADS ?? String(Math.max(1, Math.floor(availableParallelism() / size)));
  // Rank 0 has the terminal. A group of its own: a Ctrl-C comes to the command alone, which hands it on.
  const child = spawn(process.execPath, [...process.execArgv, ...process.argv.slice(1)], {
    stdio: rank === 0 ? ['inherit', 'inherit', 'inherit', 'ipc'] : ['ignore', 'ignore', 'pipe', 'ipc'],
    detached: true,
    env: {
      ...process.env,
      ...{ RANK: String(rank), LOCAL_RANK: String(rank), WORLD_SIZE: String(size), LOCAL_WORLD_SIZE: String(size) },
      ...{ MASTER_ADDR: '127.0.0.1', MASTER_PORT: String(port), OMP_NUM_THREADS: threads },
      [LAUNCHER]: String(process.pid),
    },
  });
  const started: Rank = { rank, child, error: undefined, said: '', end: undefined };
  if (child.pid !== undefined) kept(child.pid);
  child.on('message', ({ error }: Told) => (started.error = error ?? started.error));
  child.stderr?.on('data', (chunk: Buffer) => (started.said = (started.said + chunk.toString()).slice(-TAIL)));
  return started;
}

async function ended(rank: Rank): Promise<void> {
  const { child } = rank;
  // An error is one of starting it: there is no other that ends it.
  const [code, signal] = (await Promise.race([
    once(child, 'close'),
    once(child, 'error').then(([error]) => Promise.reject(error as Error)),
  ])) as [number | null, NodeJS.Signals | null];
  rank.end = { code, signal };
  if (child.pid !== undefined) gone(child.pid);
}

function send(ranks: readonly Rank[], name: NodeJS.Signals): void {
  for (const { child, end } of ranks) if (!end) child.kill(name);
}
