/** Runs programs step by step, in turns, so that whatever slows the machine slows all of them. */
import type { Level } from '../packages/torch/src/levels.ts';
import { checkLevel, environmentOf } from './level.ts';
import { Peer, type Ready, type Step } from './peer.ts';

export interface Program {
  readonly name: string;
  readonly command: readonly string[];
  /** Added to the environment. */
  readonly env?: NodeJS.ProcessEnv;
}

export interface Measured {
  readonly name: string;
  readonly ready: Ready;
  readonly steps: readonly Step[];
}

export interface Turns {
  readonly level: Level;
  readonly warmup: number;
  /** Turns that count: at most so many. */
  readonly repeats: number;
  /** Seconds that all turns may take: further ones begin only while they will fit, the first that counts always. */
  readonly seconds?: number;
  readonly threads: number;
  readonly onStep: (name: string, step: Step, done: number) => void;
}

export async function alternate(programs: readonly Program[], turns: Turns): Promise<Measured[]> {
  const threads = String(turns.threads);
  const env = { OMP_NUM_THREADS: threads, MKL_NUM_THREADS: threads, ...environmentOf(turns.level) };
  const peers: Peer[] = [];
  try {
    const measured: { name: string; ready: Ready; steps: Step[] }[] = [];
    // One after the other: loading is not to be measured, and not to disturb.
    for (const { name, command, env: own } of programs) {
      const peer = new Peer(name, command, { ...env, ...own });
      peers.push(peer);
      const ready = await peer.ready();
      checkLevel(name, ready.kernels, turns.level);
      measured.push({ name, ready, steps: [] });
    }
    const start = performance.now();
    for (let i = 0; i < turns.warmup + turns.repeats; i++) {
      for (const [p, peer] of peers.entries()) {
        const step = await peer.step();
        await peer.idle();
        if (i < turns.warmup) continue;
        const { name, steps } = measured[p]!;
        steps.push(step);
        turns.onStep(name, step, i - turns.warmup + 1);
      }
      if (i >= turns.warmup && !anotherFits((performance.now() - start) / 1000, i + 1, turns.seconds)) break;
    }
    return measured;
  } finally {
    await Promise.all(peers.map((peer) => peer.stop()));
  }
}

/** @param spent seconds of the turns so far */
export const anotherFits = (spent: number, turns: number, allowed = Infinity): boolean =>
  spent + spent / turns <= allowed;
