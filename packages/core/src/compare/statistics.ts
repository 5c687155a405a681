/**
 * Means over seeds with bootstrap intervals, and differences that are paired: every replicate draws seeds and samples
 * with replacement, the same for all policies (Efron and Tibshirani, An Introduction to the Bootstrap, 1993).
 */
import { uniform } from '../philox.ts';
import type { Evaluation } from '../tasks/task.ts';

/** Samples that are evaluated together, and what is measured of them. */
export interface SampleGroup {
  readonly name: string;
  readonly size: number;
  /** Percent; absent where a metric is undefined for these samples. */
  readonly metrics: (evaluations: readonly Evaluation[]) => Readonly<Record<string, number>>;
}

/** `[seed][group][sample]`: seeds, groups and samples in the same order for all policies. One seed stands for all. */
export type PolicyEvaluations = readonly (readonly (readonly Evaluation[])[])[];

/** A figure: a metric of a group, or the mean of several. */
export interface Column {
  readonly name: string;
  readonly of: readonly { readonly group: string; readonly metric: string }[];
}

export interface Estimate {
  readonly mean: number;
  /** Ends of the interval of 95%. */
  readonly low: number;
  readonly high: number;
}

export interface Difference extends Estimate {
  /** Two-sided, of no difference. */
  readonly p: number;
  /** The same, corrected for the number of policies that are compared (Holm, 1979). */
  readonly corrected: number;
}

export interface Estimates {
  /** Estimates by policy and column. */
  readonly values: ReadonlyMap<string, ReadonlyMap<string, Estimate>>;
  /** Differences of the reference to each other policy, in its favour where positive. */
  readonly differences: ReadonlyMap<string, ReadonlyMap<string, Difference>>;
}

const average = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0) / values.length;

/** Value of every column for every seed, of the samples chosen per group. */
function columnValues(
  evaluations: PolicyEvaluations,
  groups: readonly SampleGroup[],
  columns: readonly Column[],
  chosen: readonly (readonly number[])[],
): number[][] {
  return evaluations.map((seed) => {
    const metrics = new Map(
      groups.map(({ name, metrics: measure }, g) => [name, measure(chosen[g]!.map((i) => seed[g]![i]!))]),
    );
    return columns.map(({ of }) => average(of.map(({ group, metric }) => metrics.get(group)?.[metric] ?? NaN)));
  });
}

/** Mean over the drawn seeds. */
const meanOver = (values: readonly number[][], seeds: readonly number[], column: number): number =>
  average(seeds.map((seed) => values[seed % values.length]![column]!));

/**
 * @param policies by name; all have the number of seeds of `seeds`, or one
 * @param reference the policy whose difference to the others is estimated
 */
export function estimate(
  policies: ReadonlyMap<string, PolicyEvaluations>,
  groups: readonly SampleGroup[],
  columns: readonly Column[],
  { seeds, reference, replicates = 1000 }: { seeds: number; reference: string; replicates?: number },
): Estimates {
  const names = [...policies.keys()];
  const all = groups.map(({ size }) => Array.from({ length: size }, (_, i) => i));
  const everySeed = Array.from({ length: seeds }, (_, i) => i);
  const measure = (chosen: readonly (readonly number[])[], drawn: readonly number[]): number[][] =>
    names.map((name) => {
      const values = columnValues(policies.get(name)!, groups, columns, chosen);
      return columns.map((_, c) => meanOver(values, drawn, c));
    });

  const observed = measure(all, everySeed);
  const drawn = Array.from({ length: replicates }, (_, r) => {
    const draw = (stream: number, size: number) => (_: unknown, i: number) =>
      Math.floor(size * uniform({ seed: 0, step: r, prompt: stream, member: 0 }, i));
    return measure(
      all.map((places, g) => places.map(draw(g + 1, places.length))),
      everySeed.map(draw(0, seeds)),
    );
  });

  const values = new Map(
    names.map((name, n) => [
      name,
      new Map(
        columns.map(({ name: column }, c) => [
          column,
          interval(
            observed[n]![c]!,
            drawn.map((each) => each[n]![c]!),
          ),
        ]),
      ),
    ]),
  );
  const at = names.indexOf(reference);
  const others = names.filter((name) => name !== reference);
  const byColumn = columns.map((_, c) => {
    const found = others.map((name) => {
      const n = names.indexOf(name);
      const replicas = drawn.map((each) => each[at]![c]! - each[n]![c]!);
      return { ...interval(observed[at]![c]! - observed[n]![c]!, replicas), p: twoSided(replicas) };
    });
    const corrected = holm(found.map(({ p }) => p));
    return found.map((each, i) => ({ ...each, corrected: corrected[i]! }));
  });
  const differences = new Map(
    others.map((name, i) => [name, new Map(columns.map(({ name: column }, c) => [column, byColumn[c]![i]!]))]),
  );
  return { values, differences };
}

/** Percentiles 2.5 and 97.5 of the replicates; those in which the figure is undefined are left out. */
function interval(mean: number, replicas: readonly number[]): Estimate {
  const sorted = replicas.filter((value) => !Number.isNaN(value)).sort((a, b) => a - b);
  return { mean, low: quantile(sorted, 0.025), high: quantile(sorted, 0.975) };
}

/** Between neighbours, linearly. */
export function quantile(sorted: readonly number[], share: number): number {
  const at = share * (sorted.length - 1);
  const [low, high] = [sorted[Math.floor(at)] ?? NaN, sorted[Math.ceil(at)] ?? NaN];
  return low + (high - low) * (at - Math.floor(at));
}

/** Twice the share of replicates on the rarer side of 0, never 0: (1 + count) / (1 + replicates). */
function twoSided(replicas: readonly number[]): number {
  const defined = replicas.filter((value) => !Number.isNaN(value));
  const [below, above] = [defined.filter((value) => value <= 0).length, defined.filter((value) => value >= 0).length];
  return Math.min(1, (2 * (1 + Math.min(below, above))) / (1 + defined.length));
}

/** Holm's correction: the smallest of m values times m, the next times m - 1, and so on, never falling. */
export function holm(values: readonly number[]): number[] {
  const order = values.map((_, i) => i).sort((a, b) => values[a]! - values[b]!);
  const corrected = new Array<number>(values.length);
  let highest = 0;
  order.forEach((i, rank) => {
    highest = Math.max(highest, Math.min(1, (values.length - rank) * values[i]!));
    corrected[i] = highest;
  });
  return corrected;
}
