/** A long life: memory, handles and threads stay what they are after the first steps, and steps take the same time. */

import { spawn } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import sharp from 'sharp';
import { expect, test } from 'vitest';
import { budget, held, inTrials } from '../../core/src/testing/reliability.ts';
import { root } from './cli.ts';
import { good, linesOf, makeFolder, usual } from './training.ts';

const STEPS = budget(40, 5000);

interface Step {
  /** Bytes of tensors at their peak. */
  readonly memory: number;
  readonly type: string;
  readonly seconds: Readonly<Record<string, number>>;
}

const median = (values: readonly number[]): number => values.toSorted((a, b) => a - b)[values.length >> 1] ?? NaN;

/** What /proc says of a process: the command itself, or the last of those that began it. */
function lookAt(pid: number | undefined) {
  const place = `/proc/${pid}`;
  const status = readFileSync(join(place, 'status'), 'utf8');
  const of = (name: string): number => Number(new RegExp(`${name}:\\s+(\\d+)`).exec(status)?.[1]);
  const stat = readFileSync(join(place, 'stat'), 'utf8').split(') ')[1]!.split(' ');
  return {
    handles: readdirSync(join(place, 'fd')).length,
    threads: of('Threads'),
    // Its own: pages of files come and go with what else the machine does.
    memory: 1024 * of('RssAnon'),
    // Hundredths of a second in user and kernel mode.
    cpu: (Number(stat[11]) + Number(stat[12])) / 100,
  };
}

test.runIf(process.platform === 'linux')(`${STEPS} steps`, { timeout: 14_400_000 }, async () => {
  const every = Math.max(10, STEPS / 50);
  const pictures = Math.ceil(STEPS / 10);
  const lines = Array.from({ length: pictures }, (_, i) => ({ ...good, id: String(i), image: `${i}.png` }));
  const folder = await makeFolder({
    lines,
    config:
      usual
        .replace('steps: 1', `steps: ${STEPS}`)
        .replace('train: train.jsonl', 'train: train.jsonl\n  validation: held.jsonl') +
      `eval: { every: ${every} }\ncheckpoint: { every: ${every} }\nrecord: { tokens: all, images: copies }\n`,
    prepare: async (place) => {
      writeFileSync(join(place, 'held.jsonl'), linesOf([good, { ...good, id: 'other', solution: [] }]));
      for (let i = 0; i < pictures; i++) {
        const background = { r: i % 256, g: i >> 8, b: 99 };
        const picture = sharp({ create: { width: 40, height: 40, channels: 3, background } });
        await picture.png().toFile(join(place, `${i}.png`));
      }
    },
  });
  const log = join(folder, 'run/events.jsonl');
  const stepsOf = (): Step[] =>
    readFileSync(log, 'utf8')
      .split('\n')
      .filter((line) => line.includes('"step"'))
      .map((line) => JSON.parse(line) as Step)
      .filter(({ type }) => type === 'step');
  const child = spawn(join(root, 'visurf'), ['train', join(folder, 'config.yaml')], {
    stdio: 'ignore',
    // Where there is room V8 leaves garbage for thousands of steps, and gives new objects more of it every now and then,
    // which looks like growth; what leaks fills this.
    env: { ...process.env, NODE_OPTIONS: '--max-old-space-size=96 --max-semi-space-size=4' },
  });
  const ended = new Promise<number | null>((resolve) => child.on('exit', resolve));
  const isRunning = (): boolean => child.exitCode === null && child.signalCode === null;
  const seen: (ReturnType<typeof lookAt> & { readonly step: number })[] = [];
  while (isRunning()) {
    await Promise.race([setTimeout(inTrials(100, 2000)), ended]);
    if (!existsSync(log) || !isRunning()) continue;
    try {
      const step = Number(/"step":(\d+)/.exec(readFileSync(log, 'utf8').trimEnd().split('\n').at(-1)!)?.[1]);
      if (step > 0) seen.push({ ...lookAt(child.pid), step });
    } catch {
      // It has just ended, or is in the middle of a line.
    }
  }
  expect(await ended).toBe(0);
  const steps = stepsOf();
  expect(steps).toHaveLength(STEPS);
  expect(readdirSync(join(folder, 'run/images'))).toHaveLength(pictures + 1);
  expect(readdirSync(join(folder, 'run/groups'))).toHaveLength(STEPS);

  const between = (from: number, to: number) => seen.filter(({ step }) => step > from * STEPS && step <= to * STEPS);
  const [early, late] = [between(1 / 3, 2 / 3), between(2 / 3, 1)];
  const middle = (some: typeof seen, name: keyof (typeof seen)[0]): number => median(some.map((each) => each[name]));
  // A short life is still warming up.
  expect(middle(late, 'memory') / middle(early, 'memory')).toBeLessThan(inTrials(1.25, 1.02));
  // What a checkpoint or a recorded step opens for a moment is in no median.
  for (const name of ['handles', 'threads'] as const)
    expect(middle(late, name) - middle(early, name)).toBeLessThanOrEqual(inTrials(3, 0));
  // Of the processor, which counts the same on a machine that does other things beside.
  const pace = (some: typeof seen): number => (some.at(-1)!.cpu - some[0]!.cpu) / (some.at(-1)!.step - some[0]!.step);
  expect(pace(late) / pace(early)).toBeLessThan(inTrials(4, 1.1));
  const peak = (some: readonly Step[]): number => median(some.map((each) => each.memory));
  const tenth = STEPS / 10;
  expect(peak(steps.slice(-tenth)) / peak(steps.slice(2 * tenth, 3 * tenth))).toBeLessThan(1.02);
  held({
    promise: 'A long run does not grow: memory within 2% after warm-up, handles, threads and time per step constant',
    test: 'packages/visurf/tests/soak.test.ts',
    count: STEPS,
    of: 'steps',
    worst: 1000 * Math.max(...steps.map(({ seconds }) => Object.values(seconds).reduce((a, b) => a + b, 0))),
    memory: Math.max(...seen.map((each) => each.memory)),
  });
});
