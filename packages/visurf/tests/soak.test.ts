/** A long life: memory, handles and threads stay what they are after the first steps, and steps take the same time. */

import { spawn } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { budget, held, inTrials } from '../../core/src/testing/reliability.ts';
import { root } from './cli.ts';
import { good, makeFolder, usual } from './training.ts';

const STEPS = budget(40, 5000);

interface Step {
  /** Bytes of tensors at their peak. */
  readonly memory: number;
  readonly type: string;
  readonly seconds: Readonly<Record<string, number>>;
}

const median = (values: readonly number[]): number => values.toSorted((a, b) => a - b)[values.length >> 1] ?? NaN;

test.runIf(process.platform === 'linux')(`${STEPS} steps`, { timeout: 14_400_000 }, async () => {
  const every = Math.max(10, STEPS / 50);
  const folder = await makeFolder({
    lines: [good, { ...good, id: 'other', solution: [] }],
    config:
      usual
        .replace('steps: 1', `steps: ${STEPS}`)
        .replace('train: train.jsonl', 'train: train.jsonl\n  validation: train.jsonl') +
      `eval: { every: ${every} }\ncheckpoint: { every: ${every} }\nrecord: { tokens: all }\n`,
  });
  const log = join(folder, 'run/events.jsonl');
  const child = spawn(join(root, 'visurf'), ['train', join(folder, 'config.yaml')], { stdio: 'ignore' });
  const ended = new Promise<number | null>((resolve) => child.on('exit', resolve));
  const isRunning = (): boolean => child.exitCode === null && child.signalCode === null;
  const seen: { handles: number; threads: number; memory: number }[] = [];
  while (isRunning()) {
    await Promise.race([setTimeout(Math.min(10_000, STEPS)), ended]);
    if (!existsSync(log) || !isRunning()) continue;
    try {
      // The process itself, or the last of those that began it.
      const place = `/proc/${child.pid}`;
      const status = readFileSync(join(place, 'status'), 'utf8');
      const of = (name: string): number => Number(new RegExp(`${name}:\\s+(\\d+)`).exec(status)?.[1]);
      const handles = readdirSync(join(place, 'fd')).length;
      seen.push({ handles, threads: of('Threads'), memory: 1024 * of('VmRSS') });
    } catch {
      // It has just ended.
    }
  }
  expect(await ended).toBe(0);
  const steps = readFileSync(log, 'utf8').trim().split('\n').map((line) => JSON.parse(line) as Step).filter(({ type }) => type === 'step'); // prettier-ignore
  expect(steps).toHaveLength(STEPS);
  const tenth = STEPS / 10;
  const [early, late] = [steps.slice(2 * tenth, 3 * tenth), steps.slice(-tenth)];
  const memory = (some: typeof seen): number => median(some.map((each) => each.memory));
  const third = Math.ceil(seen.length / 3);
  const time = (some: readonly Step[]): number =>
    median(some.map(({ seconds }) => Object.values(seconds).reduce((a, b) => a + b, 0)));
  const growth = memory(seen.slice(-third)) / memory(seen.slice(third, 2 * third));
  // A short life is still warming up, on a machine that is busy.
  expect(growth).toBeLessThan(inTrials(1.25, 1.02));
  expect(time(late) / time(early)).toBeLessThan(inTrials(4, 1.2));
  const peak = (some: readonly Step[]): number => median(some.map((each) => each.memory));
  expect(peak(early)).toBeGreaterThan(0);
  expect(peak(late) / peak(early)).toBeLessThan(1.02);
  const [first, last] = [seen[Math.floor(seen.length / 3)], seen.at(-1)];
  if (first && last)
    expect([last.handles - first.handles <= 2, last.threads - first.threads <= 1]).toEqual([true, true]);
  held({
    promise: 'A long run does not grow: memory within 2% after warm-up, handles, threads and time per step constant',
    test: 'packages/visurf/tests/soak.test.ts',
    count: STEPS,
    of: 'steps',
    worst: 1000 * Math.max(...steps.map(({ seconds }) => Object.values(seconds).reduce((a, b) => a + b, 0))),
    memory: Math.max(...seen.map((each) => each.memory)),
  });
});
