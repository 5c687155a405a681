/** What we want to reach, and what was reached. */
import type { ComparisonId } from '../comparisons.ts';
import { ratios, summary } from '../statistics.ts';
import { peakMb } from './comparison.ts';
import { find, updateShare } from './limits.ts';
import type { Result } from './result.ts';
import { number, percent, table, total } from './text.ts';

/** A figure, the value it must have at least (or at most), and the one we go for. */
interface Goal {
  readonly what: string;
  readonly better: 'higher' | 'lower';
  readonly format: (value: number) => string;
  readonly measure: (result: Result) => number | undefined;
  /** By workload. */
  readonly values: Readonly<Record<string, readonly [limit: number, goal: number]>>;
}

const times = (value: number): string => `${number(value)}x`;

const faster =
  (id: ComparisonId, seconds = total) =>
  (result: Result): number | undefined => {
    const comparison = find(result, id);
    return comparison && ratios(comparison.peer.steps.map(seconds), comparison.ours.steps.map(seconds)).median;
  };

const speed = (what: string, id: ComparisonId, values: Goal['values']): Goal => ({
  what,
  better: 'higher',
  format: times,
  measure: faster(id, id.startsWith('rollouts') ? ({ seconds }) => seconds.generate ?? NaN : total),
  values,
});

const share = (what: string, id: ComparisonId, values: Goal['values']): Goal => ({
  what,
  better: 'lower',
  format: times,
  measure: (result) => {
    const comparison = find(result, id);
    return comparison && peakMb(comparison.ours) / peakMb(comparison.peer);
  },
  values,
});

const labelCost: readonly [number, number] = [1 + 1.5 / 8, 1 + 1.5 / 8];

const goals: readonly Goal[] = [
  speed('RLVR step against TRL, float32', 'step', { a: [4.5, 6], b: [4.5, 6], c: [4, 5] }),
  speed("RLVR step against TRL's default precision, bfloat16", 'step-bfloat16', { b: [9, 12], c: [6, 10] }),
  speed('RLVR step against TRL patched and tuned by us, bfloat16', 'step-tuned', { b: [4.5, 6], c: [4, 5] }),
  speed("rollouts against transformers' generate, float32", 'rollouts', { a: [4, 6], b: [2.5, 4], c: [3, 4] }),
  speed("rollouts against transformers' generate, bfloat16", 'rollouts-bfloat16', { b: [6, 8], c: [3, 4] }),
  speed('SFT step against a PyTorch loop, float32', 'sft', { a: [1.2, 1.5], b: [1.5, 2], c: [1.2, 1.5] }),
  share('peak memory of an RLVR step against TRL, float32', 'step', { a: [0.35, 0.25], b: [0.3, 0.2], c: [0.3, 0.2] }),
  {
    what: 'update, useful operations against the rate of products, float32',
    better: 'higher',
    format: percent,
    measure: (result) => updateShare(result, 'float32')?.median,
    values: { b: [0.55, 0.75], c: [0.55, 0.75] },
  },
  {
    what: 'ViSurf step against an RLVR step, at most 1 + 1.5 / G',
    better: 'lower',
    format: times,
    measure: (result) => {
      const comparison = find(result, 'label');
      return (
        comparison && summary(labelRatios(comparison.ours.steps.map(total), comparison.peer.steps.map(total))).median
      );
    },
    values: { a: labelCost, b: labelCost, c: labelCost },
  },
];

const labelRatios = (visurf: readonly number[], rlvr: readonly number[]): number[] =>
  visurf.map((seconds, i) => seconds / rlvr[i]!);

/** By how much a value is on the wrong side of another, as a share of it; 0 on the right side. */
const miss = (better: Goal['better'], value: number, wanted: number): number =>
  Math.max(0, better === 'higher' ? 1 - value / wanted : value / wanted - 1);

export function verdict(better: Goal['better'], value: number, [limit, goal]: readonly [number, number]): string {
  const missedGoal = miss(better, value, goal);
  if (missedGoal === 0) return 'reached';
  const missedLimit = miss(better, value, limit);
  if (missedLimit === 0) return `goal missed by ${percent(missedGoal)}`;
  return `**missed** by ${percent(missedLimit)}${limit === goal ? '' : `, the goal by ${percent(missedGoal)}`}`;
}

function cell({ better, format, measure, values }: Goal, result: Result): string {
  const wanted = values[result.name];
  const value = measure(result);
  if (!wanted || value === undefined) return '';
  const [limit, goal] = wanted;
  const said = limit === goal ? format(limit) : `${format(limit)}, ${format(goal)}`;
  return `${format(value)} (${said}): ${verdict(better, value, wanted)}`;
}

export function renderGoals(results: readonly Result[]): string {
  const rows = goals.map((goal) => [goal.what, ...results.map((result) => cell(goal, result))]);
  const measured = rows.filter(([, ...cells]) => cells.some((each) => each !== ''));
  return table(['figure', ...results.map(({ name }) => `(${name})`)], measured);
}
