/** The figures that say how well we do: what the goals are about, and what must not fall unseen. */
import type { ComparisonId } from '../comparisons.ts';
import type { Step } from '../peer.ts';
import { ratios } from '../statistics.ts';
import type { Precision } from '../workloads.ts';
import { peakMb } from './comparison.ts';
import { find, updateShare } from './limits.ts';
import { rivalsOf, scalingOf, workloadsOf, type Kept, type Result, type RivalResult } from './result.ts';
import { growthOf } from './scaling.ts';
import { number, percent, total } from './text.ts';
import { miss, type Better } from './verdict.ts';

/** A figure of every workload. */
export interface Kind {
  readonly what: string;
  readonly better: Better;
  readonly format: (value: number) => string;
  readonly precision: Precision;
  readonly measure: (result: Result) => number | undefined;
  /** What we go for, by workload. */
  readonly goals: Readonly<Record<string, number>>;
}

const times = (value: number): string => `${number(value)}x`;
const generation = ({ seconds }: Step): number => seconds.generate ?? NaN;

const speed = (what: string, id: ComparisonId, goals: Kind['goals'], precision: Precision = 'float32'): Kind => ({
  ...{ what, goals, precision, better: 'higher', format: times },
  measure: (result) => {
    const seconds = /rollouts|vllm/.test(id) ? generation : total;
    const pair = find(result, id);
    return pair && ratios(pair.peer.steps.map(seconds), pair.ours.steps.map(seconds)).median;
  },
});

const memory = (what: string, id: ComparisonId, goals: Kind['goals']): Kind => ({
  ...{ what, goals, precision: 'float32', better: 'lower', format: times },
  measure: (result) => {
    const pair = find(result, id);
    return pair && peakMb(pair.ours) / peakMb(pair.peer);
  },
});

const labelCost = 1 + 1.5 / 8;

export const kinds: readonly Kind[] = [
  speed('RLVR step against TRL, float32', 'step', { a: 6, b: 7, c: 9 }),
  speed('RLVR step against TRL patched and tuned by us, float32', 'step-allocator', { a: 6 }),
  speed("RLVR step against TRL's default precision, bfloat16", 'step-bfloat16', { b: 10, c: 10 }, 'bfloat16'),
  speed('RLVR step against TRL patched and tuned by us, bfloat16', 'step-tuned', { b: 6, c: 5 }, 'bfloat16'),
  speed("rollouts against transformers' generate, float32", 'rollouts', { a: 6, b: 5, c: 4 }),
  speed("rollouts against transformers' generate, bfloat16", 'rollouts-bfloat16', { b: 8, c: 4 }, 'bfloat16'),
  speed('rollouts against vLLM for CPUs, float32', 'vllm', { a: 1.5, b: 1.5 }),
  speed('rollouts against vLLM for CPUs, bfloat16', 'vllm-bfloat16', {}, 'bfloat16'),
  speed('SFT step against a PyTorch loop, float32', 'sft', { a: 1.5, b: 2, c: 1.5 }),
  memory('peak memory of an RLVR step against TRL, float32', 'step', { a: 0.25, b: 0.2, c: 0.5 }),
  memory("peak memory of rollouts against transformers' generate, float32", 'rollouts', {}),
  memory('peak memory of an SFT step against a PyTorch loop, float32', 'sft', {}),
  {
    what: 'update, useful operations against the rate of products, float32',
    ...{ better: 'higher', format: percent, precision: 'float32' },
    measure: (result) => updateShare(result, 'float32')?.median,
    goals: { b: 0.75, c: 0.75 },
  },
  {
    what: 'ViSurf step against an RLVR step, at most 1 + 1.5 / G',
    ...{ better: 'lower', format: times, precision: 'float32' },
    measure: (result) => {
      const pair = find(result, 'label');
      return pair && ratios(pair.ours.steps.map(total), pair.peer.steps.map(total)).median;
    },
    goals: { a: labelCost, b: labelCost, c: labelCost },
  },
];

/** One value, with a name that is the same in every run. */
export interface Figure {
  readonly name: string;
  readonly better: Better;
  readonly value: number;
  readonly format: (value: number) => string;
  readonly cpu: string;
}

/** Every figure of results of one level. */
export function figuresOf(all: readonly Kept[]): Figure[] {
  const compared = workloadsOf(all).flatMap(({ result }) =>
    kinds.flatMap(({ what, better, format, measure }): Figure[] => {
      const value = measure(result);
      const name = `(${result.name}) ${what}`;
      return value === undefined ? [] : [{ name, better, value, format, cpu: result.machine.cpu }];
    }),
  );
  const grown = scalingOf(all).flatMap(({ result }) =>
    result.series.flatMap((series): Figure[] => {
      const value = series.varied === 'group' && series.program === 'visurf' ? growthOf(series) : undefined;
      const name = `(${series.model}) step of G = 32 against G = 8`;
      return value === undefined ? [] : [{ name, better: 'lower', value, format: times, cpu: result.machine.cpu }];
    }),
  );
  return [...compared, ...grown, ...rivalsOf(all).flatMap(({ result }) => rivalFigures(result))];
}

function rivalFigures({ systems: [ours, rival], machine: { cpu } }: RivalResult): Figure[] {
  if (!ours || !rival) return [];
  const mean = (runs: readonly number[]): number => runs.reduce((a, b) => a + b, 0) / runs.length;
  const against = (value: (run: RivalResult['systems'][number]['runs'][number]) => number): number =>
    mean(rival.runs.map(value)) / mean(ours.runs.map(value));
  const figure = (name: string, value: number): Figure => ({ name, value, better: 'higher', format: times, cpu });
  return [
    figure(
      'time of the rival against ours',
      against(({ seconds }) => seconds),
    ),
    figure(
      'processor seconds of the rival against ours',
      against(({ processorSeconds }) => processorSeconds),
    ),
    figure(
      'memory of the rival against ours',
      against(({ peakMb }) => peakMb),
    ),
  ];
}

/** More than machines and their moods do to a ratio. */
export const fallenShare = 0.15;

/**
 * One line for every figure that is worse than it was, by more than a share of what it was. Figures that only one side
 * has are no news. Names are the same in both.
 */
export function fallen(before: readonly Figure[], after: readonly Figure[], share = fallenShare): string[] {
  const was = new Map(before.map((figure) => [figure.name, figure]));
  return after.flatMap(({ name, better, value, format, cpu }) => {
    const old = was.get(name);
    const by = old && miss(better, value, old.value);
    // A figure that became NaN has fallen, too.
    if (!old || by === undefined || by <= share) return [];
    const where = cpu === old.cpu ? '' : ` (committed: ${old.cpu}; now: ${cpu})`;
    return [`${name}: ${format(value)}, was ${format(old.value)}, ${percent(by)} worse${where}`];
  });
}
