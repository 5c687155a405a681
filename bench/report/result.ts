/** What a run of the benchmark writes down. */
import type { Comparison } from '../comparisons.ts';
import type { Counts } from '../counts.ts';
import type { Limits } from '../limits.ts';
import type { Machine } from '../machine.ts';
import type { Measured } from '../measure.ts';
import type { sizes } from '../workloads.ts';

interface Measurement {
  readonly name: string;
  readonly machine: Machine;
  readonly threads: number;
  readonly limits: Limits;
}

/** `results/<workload>.json` */
export interface Result extends Measurement {
  readonly title: string;
  readonly workload: ReturnType<typeof sizes>;
  readonly counts: Counts;
  readonly comparisons: readonly Comparison<Measured>[];
}

export interface Point {
  /** The value of what is varied. */
  readonly at: number;
  /** Of the whole step, repeated. */
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

/** `results/scaling.json` */
export interface ScalingResult extends Measurement {
  readonly name: 'scaling';
  readonly series: readonly Series[];
}
