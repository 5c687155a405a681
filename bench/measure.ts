/** Runs programs step by step, in turns, so that whatever slows the machine slows all of them. */
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
  readonly warmup: number;
  readonly repeats: number;
  readonly threads: number;
  readonly onStep: (name: string, step: Step, done: number) => void;
}

export async function alternate(programs: readonly Program[], turns: Turns): Promise<Measured[]> {
  const threads = String(turns.threads);
  const env = { OMP_NUM_THREADS: threads, MKL_NUM_THREADS: threads };
  const peers: Peer[] = [];
  try {
    const measured: { name: string; ready: Ready; steps: Step[] }[] = [];
    // One after the other: loading is not to be measured, and not to disturb.
    for (const { name, command, env: own } of programs) {
      const peer = new Peer(name, command, { ...env, ...own });
      peers.push(peer);
      measured.push({ name, ready: await peer.ready(), steps: [] });
    }
    for (let i = 0; i < turns.warmup + turns.repeats; i++) {
      for (const [p, peer] of peers.entries()) {
        const step = await peer.step();
        await peer.idle();
        if (i < turns.warmup) continue;
        const { name, steps } = measured[p]!;
        steps.push(step);
        turns.onStep(name, step, i - turns.warmup + 1);
      }
    }
    return measured;
  } finally {
    await Promise.all(peers.map((peer) => peer.stop()));
  }
}
