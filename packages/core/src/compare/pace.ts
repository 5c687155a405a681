/** How long the updates of every run take on this machine: measured once, and kept in `results/pace.json`. */
import { rmSync } from 'node:fs';
import path from 'node:path';

import type { Config } from '../config/schema.ts';
import { plan } from '../plan.ts';
import { readEvents } from '../run/events.ts';
import { train } from '../train.ts';
import { paceOf, pilotOf } from './budget.ts';
import { configOf, type Comparison, type RunDefinition } from './definition.ts';
import { readPace, writePace, type Pace } from './result.ts';

export interface PaceOptions {
  /** A hash of all that decides how long a pilot takes. */
  readonly hashOf: (pilot: Config) => Promise<string>;
  readonly onStep: (run: string, done: number, total: number) => void;
  readonly signal: AbortSignal | undefined;
}

const fileOf = ({ results }: Comparison): string => path.join(results, 'pace.json');

const configsOf = (comparison: Comparison, run: RunDefinition): { full: Config; pilot: Config } => ({
  full: configOf(comparison, run, comparison.seeds[0]!),
  pilot: {
    ...configOf(comparison, pilotOf(comparison, run), comparison.seeds[0]!),
    output: path.join(comparison.output, 'pilots', run.name),
  },
});

/** Seconds per update by run. What is not known yet is measured, and kept. */
export async function measuredPace(comparison: Comparison, options: PaceOptions): Promise<Map<string, number>> {
  let known: Pace = readPace(fileOf(comparison)) ?? {};
  for (const run of comparison.runs) {
    const { full, pilot } = configsOf(comparison, run);
    const hash = await options.hashOf(pilot);
    if (known[run.name]?.hash === hash) continue;
    const seconds = await measure(run.name, full, pilot, options);
    known = { ...known, [run.name]: { hash, seconds: Number(seconds.toPrecision(5)) } };
    writePace(fileOf(comparison), known);
  }
  return new Map(comparison.runs.map(({ name }) => [name, known[name]!.seconds]));
}

/** The same as far as it was measured; undefined where a run is missing. */
export async function knownPace(
  comparison: Comparison,
  hashOf: PaceOptions['hashOf'],
): Promise<Map<string, number> | undefined> {
  const known = readPace(fileOf(comparison)) ?? {};
  const found = new Map<string, number>();
  for (const run of comparison.runs) {
    const own = known[run.name];
    if (own?.hash !== (await hashOf(configsOf(comparison, run).pilot))) return undefined;
    found.set(run.name, own.seconds);
  }
  return found;
}

/** The same as `visurf plan` says it. */
export async function predictedPace(comparison: Comparison): Promise<Map<string, number>> {
  const found = new Map<string, number>();
  for (const run of comparison.runs) found.set(run.name, (await plan(configsOf(comparison, run).full)).time.step);
  return found;
}

async function measure(run: string, full: Config, pilot: Config, options: PaceOptions): Promise<number> {
  const { onStep, signal } = options;
  // What a comparison left that was stopped.
  const remove = (): void => rmSync(pilot.output, { recursive: true, force: true });
  remove();
  const { interrupted } = await train(pilot, {
    onEvent: (event) => {
      if (event.kind === 'step') onStep(run, event.step, event.steps);
    },
    ...(signal && { signal }),
  });
  if (interrupted) signal?.throwIfAborted();
  const seconds = readEvents(path.join(pilot.output, 'events.jsonl')).flatMap((event) =>
    event.type === 'step' ? [Object.values(event.seconds).reduce((a, b) => a + b, 0)] : [],
  );
  remove();
  return paceOf(full, pilot, seconds);
}
