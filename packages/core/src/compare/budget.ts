/** Equal budgets: how many updates every run has, so that all see as many prompts as the reference, or train as long. */
import { LEAVES, valueAt } from '../config/keys.ts';
import { resolveSteps, type Config } from '../config/schema.ts';
import { stepWork } from '../schedule/paradigm.ts';
import { configOf, type Comparison, type RunDefinition } from './definition.ts';

/** A comparison with steps in place of the epochs of its runs. @param count of the training samples of a configuration */
export async function withoutEpochs(
  comparison: Comparison,
  count: (config: Config) => Promise<number>,
): Promise<Comparison> {
  const runs: RunDefinition[] = [];
  for (const run of comparison.runs) {
    const config = configOf(comparison, run, comparison.seeds[0]!);
    const { steps } = config.epochs === undefined ? config : resolveSteps(config, await count(config));
    runs.push(config.epochs === undefined ? run : { ...run, changes: [...run.changes, 'epochs=', `steps=${steps}`] });
  }
  return { ...comparison, runs };
}

/**
 * A comparison with changes to the updates of the runs; as it is with `equal: updates`.
 * @param pace seconds per update by run, which `equal: time` needs
 */
export function equalised(comparison: Comparison, pace: ReadonlyMap<string, number> = new Map()): Comparison {
  const { equal, runs, reference } = comparison;
  if (equal === 'updates') return comparison;
  const configs = new Map(runs.map((run) => [run.name, configOf(comparison, run, comparison.seeds[0]!)]));
  const costOf = (name: string): number => (equal === 'time' ? pace.get(name)! : configs.get(name)!.promptsPerStep);
  return {
    ...comparison,
    runs: runs.map((run) => {
      const { steps } = configs.get(reference)!;
      return withSteps(run, configs.get(run.name)!, (steps * costOf(reference)) / costOf(run.name));
    }),
  };
}

function withSteps(run: RunDefinition, config: Config, wanted: number): RunDefinition {
  const steps = Math.max(config.sftSteps === undefined ? 1 : 2, Math.round(wanted));
  if (steps === config.steps) return run;
  return { ...run, changes: [...run.changes, `steps=${steps}`, ...scaled(config, steps)] };
}

/** Changes of the keys that count updates and are set: they keep their share, and so a run has as many evaluations. */
function scaled(config: Config, steps: number): string[] {
  return LEAVES.flatMap(({ key, scales }) => {
    const value = scales && valueAt(config, key);
    if (typeof value !== 'number' || value === 0) return [];
    const most = key === 'sftSteps' ? steps - 1 : Infinity;
    return [`${key}=${Math.min(most, Math.max(1, Math.round((value * steps) / config.steps)))}`];
  });
}

/** Updates of a pilot. The first, which fills caches, does not count. */
const PILOT = 6;

/** A few updates that stand for the run: of every kind that it has, without evaluations and checkpoints in between. */
export function pilotOf(comparison: Comparison, run: RunDefinition): Comparison['runs'][number] {
  const config = configOf(comparison, run, comparison.seeds[0]!);
  const own = [`steps=${PILOT}`, 'eval.every=0', 'eval.patience=', 'data.validation=', `checkpoint.every=${PILOT}`];
  const halves = config.sftSteps === undefined ? [] : [`sftSteps=${PILOT / 2}`];
  return { ...run, changes: [...run.changes, ...scaled(config, PILOT), ...halves, ...own] };
}

/**
 * Seconds per update of a run, mean over its steps: those that are SFT, RL, or both, cost what such updates of the pilot
 * cost, or where it has none what all of them do.
 * @param seconds of every update of the pilot
 */
export function paceOf(run: Config, pilot: Config, seconds: readonly number[]): number {
  const counted = seconds.map((value, i) => ({ value, kind: kindOf(pilot, i + 1) })).slice(1);
  const mean = (values: readonly { value: number }[]): number =>
    values.reduce((sum, { value }) => sum + value, 0) / values.length;
  const kinds = Map.groupBy(counted, ({ kind }) => kind);
  const steps = Array.from({ length: run.steps }, (_, i) => kinds.get(kindOf(run, i + 1)) ?? counted);
  return steps.reduce((sum, own) => sum + mean(own), 0) / steps.length;
}

function kindOf(config: Config, step: number): string {
  const { rl, sft } = stepWork(config, step);
  return `${rl > 0} ${sft > 0}`;
}
