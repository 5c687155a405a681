/**
 * What an open studio costs a training beside it. One training, and a studio that is stopped (SIGSTOP) and let go on for
 * some steps each, in turn: pairs of neighbouring blocks differ in the studio alone, so that what else the machine does
 * cancels. Beside the times, which are noisy, what the studio's process itself takes per step, which is not.
 */
import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { medianInterval, summary } from './statistics.ts';

export interface Beside {
  readonly pairs: number;
  /** Steps of a block. */
  readonly block: number;
  /** Median seconds of a step without the studio. */
  readonly stepSeconds: number;
  /** Of the ratios of neighbouring blocks, with over without: median, and its interval of 95%. */
  readonly ratio: readonly [median: number, low: number, high: number];
  /** Milliseconds of processor time that the studio took per step, and their share of what the step had of all cores. */
  readonly cpuPerStep: number;
  readonly cpuShare: number;
}

/** Steps before the first pair: what a program costs while its code is compiled is over by then. */
const WARM = 20;
const DATA = 'runs/mini-grounding/data';

export async function besideTraining(cores: number, pairs = 24, block = 3): Promise<Beside> {
  const folder = 'bench/out/beside';
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  if (!existsSync(DATA)) await finished('recipes/mini-grounding/src/generate.ts');
  const studio = spawn(process.execPath, ['packages/visurf/src/main.ts', 'studio', folder, '--port', '0'], {
    stdio: ['ignore', 'pipe', 'inherit'],
    env: { ...process.env, XDG_CACHE_HOME: join(folder, 'cache') },
  });
  const link = await new Promise<string>((resolve) => {
    studio.stdout.once('data', (data: Buffer) => resolve(data.toString().trim()));
  });
  const stopWatching = watch(link);
  const steps = WARM + 2 * pairs * block;
  const run = join(folder, 'run');
  const keys = [`steps=${steps}`, `output=${run}`, 'eval.every=0', 'checkpoint.every=1000000', 'data.validation=null'];
  const training = spawn(process.execPath, ['packages/visurf/src/main.ts', 'train', 'recipes/mini-grounding/config.yaml', ...keys], { stdio: 'ignore' }); // prettier-ignore
  let cpu: number;
  try {
    await reached(run, WARM, training.pid!);
    const before = cpuOf(studio.pid!);
    for (let i = 0; i < 2 * pairs; i++) {
      studio.kill(i % 2 === 0 ? 'SIGCONT' : 'SIGSTOP');
      await reached(run, WARM + (i + 1) * block, training.pid!);
    }
    // While it is stopped it takes nothing.
    cpu = cpuOf(studio.pid!) - before;
  } finally {
    stopWatching();
    studio.kill('SIGCONT');
    studio.kill('SIGTERM');
    training.kill('SIGKILL');
  }
  const seconds = secondsOf(run).slice(WARM);
  const blocks = Array.from({ length: 2 * pairs }, (_, i) => sum(seconds.slice(i * block, (i + 1) * block)));
  const ratios = Array.from({ length: pairs }, (_, i) => blocks[2 * i]! / blocks[2 * i + 1]!);
  const without = blocks.filter((_, i) => i % 2 === 1).map((each) => each / block);
  const cpuPerStep = (1000 * cpu) / (pairs * block);
  const stepSeconds = summary(without).median;
  return {
    ...{ pairs, block, stepSeconds, cpuPerStep },
    ratio: [summary(ratios).median, ...medianInterval(ratios)],
    cpuShare: cpuPerStep / 1000 / (cores * stepSeconds),
  };
}

const sum = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0);

/** Does what the page of groups does, which asks for most: at any news for the run, and for its newest groups. */
function watch(link: string): () => void {
  const stop = new AbortController();
  const listen = async (): Promise<void> => {
    const live = await fetch(`${link}api/live`, { signal: stop.signal });
    for await (const chunk of live.body as AsyncIterable<Uint8Array>) {
      for (const [, id] of Buffer.from(chunk)
        .toString()
        .matchAll(/"id":"([0-9a-f]+)"/g)) {
        for (const path of ['', '/groups?limit=500'])
          await (await fetch(`${link}api/runs/${id}${path}`, { signal: stop.signal })).arrayBuffer();
      }
    }
  };
  listen().catch((error: unknown) => {
    if (!stop.signal.aborted) throw error;
  });
  return () => stop.abort();
}

function eventsOf(run: string): { type: string; step: number; time: number }[] {
  const file = join(run, 'events.jsonl');
  const lines = existsSync(file) ? readFileSync(file, 'utf8').split('\n').slice(0, -1) : [];
  return lines.map((line) => JSON.parse(line) as { type: string; step: number; time: number });
}

/** Seconds from one step to the next. */
function secondsOf(run: string): number[] {
  const times = eventsOf(run).flatMap(({ type, time }) => (type === 'step' ? [time] : []));
  return [NaN, ...times.slice(1).map((time, i) => (time - times[i]!) / 1000)];
}

async function reached(run: string, step: number, pid: number): Promise<void> {
  while (!eventsOf(run).some((event) => event.type === 'step' && event.step >= step)) {
    if (!existsSync(`/proc/${pid}`)) throw new Error('the training has ended');
    await setTimeout(20);
  }
}

/** Seconds of processor time of a process. */
function cpuOf(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ').at(-1)!.split(' ');
  return (Number(stat[11]) + Number(stat[12])) / 100;
}

async function finished(script: string): Promise<void> {
  const child = spawn(process.execPath, [script], { stdio: 'inherit' });
  await new Promise((resolve) => child.on('close', resolve));
}
