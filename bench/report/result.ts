/** What a run of the benchmark writes down. */
import type { Level } from '../../packages/torch/src/levels.ts';
import type { Comparison } from '../comparisons.ts';
import type { Counts } from '../counts.ts';
import { LEVELS } from '../level.ts';
import type { Limits } from '../limits.ts';
import type { Machine } from '../machine.ts';
import type { Measured } from '../measure.ts';
import type { Differences, Resumed } from '../rival-check.ts';
import type { sizes } from '../workloads.ts';

interface Measurement {
  readonly name: string;
  readonly machine: Machine;
  readonly threads: number;
  readonly limits: Limits;
}

/** `results/<workload>.<level>.json` */
export interface Result extends Measurement {
  readonly title: string;
  readonly workload: ReturnType<typeof sizes>;
  readonly counts: Counts;
  readonly comparisons: readonly Comparison<Measured>[];
}

export interface Point {
  /** The value of what is varied. */
  readonly at: number;
  /** Seconds of the whole step, repeated. */
  readonly seconds: readonly number[];
  /** Highest resident memory. */
  readonly peakMb: number;
  /** Useful operations of the step. */
  readonly operations: number;
}

export interface Series {
  readonly program: string;
  readonly varied: 'group' | 'image tokens' | 'response tokens' | 'prompts';
  readonly model: string;
  readonly points: readonly Point[];
}

/** `results/scaling.<level>.json` */
export interface ScalingResult extends Measurement {
  readonly name: 'scaling';
  readonly series: readonly Series[];
}

/** One training, from the base to the recipe's last update. */
export interface RivalRun {
  readonly seed: number;
  /** Seconds of all updates: reading images, rollouts, rewards, update. */
  readonly seconds: number;
  readonly phases: Readonly<Record<'rollouts' | 'reward' | 'update', number>>;
  /** Seconds of the whole process, from start to end. */
  readonly processSeconds: number;
  /** Seconds of all threads of the process: other programs on the machine hardly change them. */
  readonly processorSeconds: number;
  /** Highest resident memory. */
  readonly peakMb: number;
  /** Share of labels that were active, over the run. */
  readonly labelActive: number;
  /** Share of responses that went through the model to be trained on: the others had no advantage. */
  readonly scored: number;
  /** Memory of the rival's scorer, a process of its own. */
  readonly scorerPeakMb?: number;
  /** Largest advantage of a label that was switched off. */
  readonly labelLeft?: number;
  /** Metrics of `visurf eval` on the test split, in percent. */
  readonly metrics: Readonly<Record<string, number>>;
}

export interface RivalSystem {
  readonly name: string;
  readonly runs: readonly RivalRun[];
}

/** `results/vllm.<level>.json`: rollouts of some workloads, against a peer that has an environment of its own. */
export interface VllmResult extends Omit<Measurement, 'limits'> {
  readonly name: 'vllm';
  readonly workloads: readonly Result[];
}

/** `results/rival.<level>.json` */
export interface RivalResult extends Omit<Measurement, 'limits'> {
  readonly name: 'rival';
  readonly updates: number;
  readonly checked: { readonly step: Differences; readonly resumed: Resumed };
  readonly systems: readonly RivalSystem[];
}

export type AnyResult = Result | ScalingResult | VllmResult | RivalResult;

/** A result and the level that it was measured at, which the name of its file says. */
export interface Kept<R extends AnyResult = AnyResult> {
  readonly level: Level;
  readonly result: R;
}

const isScaling = (kept: Kept): kept is Kept<ScalingResult> => 'series' in kept.result;
const isRival = (kept: Kept): kept is Kept<RivalResult> => 'systems' in kept.result;

export const scalingOf = (all: readonly Kept[]): Kept<ScalingResult>[] => all.filter(isScaling);
export const rivalsOf = (all: readonly Kept[]): Kept<RivalResult>[] => all.filter(isRival);

/** Those that a page has: of laptops and of servers always, others where they were measured. */
export const shownLevels = (all: readonly Kept[]): Level[] =>
  LEVELS.filter((level) => level !== 'default' || all.some((each) => each.level === level));

/** The workloads of all results, those of vLLM's among them. */
export const workloadsOf = (all: readonly Kept[]): Kept<Result>[] =>
  all.flatMap(({ level, result }) => {
    if ('workloads' in result) return result.workloads.map((each) => ({ level, result: each }));
    return 'comparisons' in result ? [{ level, result }] : [];
  });
