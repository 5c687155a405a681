/** Our side of everything that the benchmark measures, once, on the tests' tiny model: does it still run? */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import type { Level } from '../packages/torch/src/levels.ts';
import { comparisons, type Comparison } from './comparisons.ts';
import { countWork, type Counts } from './counts.ts';
import { measureLimits } from './limits.ts';
import { describeMachine } from './machine.ts';
import { alternate, type Measured, type Program } from './measure.ts';
import { pageOf } from './report/page.ts';
import type { Result, ScalingResult } from './report/result.ts';
import { measurePoint } from './scaling.ts';
import { sizes, writeWorkload, type Workload } from './workloads.ts';

const fixtures = join(import.meta.dirname, '..', 'oracle', 'fixtures');
const sample = { image: join(fixtures, 'images', 'small-40x40.png'), problem: 'where is it?' };

const tiny: Workload = {
  model: join(fixtures, 'tiny-qwen2_5-vl', 'model'),
  samples: [sample, sample],
  group: 4,
  maxNewTokens: 6,
  microBatchPrompts: 1,
};
const once = { warmup: 0, repeats: 1, threads: 1 };

/** Prints the page that the measurements would make; each program stands in for its own peer. */
export async function runSmoke(folder: string, level: Level): Promise<void> {
  mkdirSync(folder, { recursive: true });
  const machine = describeMachine();
  const limits = measureLimits(1, machine, level);
  const count = (promptTokens: number): Counts => countWork(tiny, [1, 4, 4], promptTokens);
  const pairs = comparisons(writeWorkload(join(folder, 'workload.json'), tiny), 1);
  const measured = await measureOurs(pairs, level);
  const result: Result = {
    ...{ name: 'b', title: 'smoke', workload: sizes(tiny), machine, threads: 1, limits, comparisons: measured },
    counts: count(measured[0]?.ours.steps[0]?.promptTokens ?? NaN),
  };
  const points = [await measurePoint(tiny.group, pairs[0]!.ours, { ...once, level }, count)];
  const scaling: ScalingResult = {
    ...{ name: 'scaling', machine, threads: 1, limits },
    series: [{ program: 'visurf', varied: 'group', model: 'b', points }],
  };
  process.stdout.write(
    pageOf([
      { level, result },
      { level, result: scaling },
    ]),
  );
}

/** Every program once, however many comparisons it is in. */
async function measureOurs(pairs: readonly Comparison<Program>[], level: Level): Promise<Comparison<Measured>[]> {
  const known = new Map<string, Measured>();
  const done: Comparison<Measured>[] = [];
  for (const pair of pairs) {
    const key = pair.ours.command.join(' ');
    const turns = { ...once, level, onStep: () => undefined };
    const ours = known.get(key) ?? (await alternate([pair.ours], turns))[0]!;
    known.set(key, ours);
    done.push({ ...pair, ours, peer: ours });
  }
  return done;
}
