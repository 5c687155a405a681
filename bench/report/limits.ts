/** How close our side comes to what the machine can do. */
import type { Comparison, ComparisonId } from '../comparisons.ts';
import type { Measured } from '../measure.ts';
import type { Step } from '../peer.ts';
import { summary, type Summary } from '../statistics.ts';
import type { Precision } from '../workloads.ts';
import { titles } from '../level.ts';
import { workloadsOf, type Kept, type Result } from './result.ts';
import { number, percent, table, updateSeconds } from './text.ts';

export const find = ({ comparisons }: Result, id: ComparisonId): Comparison<Measured> | undefined =>
  comparisons.find((each) => each.id === id);

const stepsIn: Record<Precision, ComparisonId> = { float32: 'step', bfloat16: 'step-bfloat16' };
const rolloutsIn: Record<Precision, ComparisonId> = { float32: 'rollouts', bfloat16: 'rollouts-bfloat16' };

/** Useful operations of the update over its time and the rate of products. */
export function updateShare(result: Result, precision: Precision, side: 'ours' | 'peer' = 'ours'): Summary | undefined {
  const steps = find(result, stepsIn[precision])?.[side].steps;
  const rate = result.limits.gemm[precision];
  if (!steps || rate === undefined) return undefined;
  return summary(steps.map((step) => result.counts.update / updateSeconds(step) / rate / 1e9));
}

/** Seconds of one step of decoding: generation without the prefill, over the tokens after the first. */
const decodeSeconds = ({ workload }: Result, { seconds, prefillSeconds }: Step): number =>
  ((seconds.generate ?? NaN) - (prefillSeconds ?? NaN)) / (workload.maxNewTokens - 1);

function updateRow(result: Result, precision: Precision): string[] {
  const comparison = find(result, stepsIn[precision]);
  const [share, peer] = [updateShare(result, precision), updateShare(result, precision, 'peer')];
  const rate = result.limits.gemm[precision];
  if (!comparison || !share || !peer || rate === undefined) return [];
  const seconds = summary(comparison.ours.steps.map(updateSeconds)).median;
  const { counts, name } = result;
  return [
    `(${name}) ${precision}`,
    number(counts.update / 1e12),
    number(seconds),
    number(counts.update / seconds / 1e9),
    number(rate),
    percent(share.median),
    percent(peer.median),
  ];
}

function decodeRow(result: Result, precision: Precision): string[] {
  const comparison = find(result, rolloutsIn[precision]);
  const rate = result.limits.gemm[precision];
  if (!comparison || rate === undefined) return [];
  const seconds = summary(comparison.ours.steps.map((step) => decodeSeconds(result, step))).median;
  const { counts, limits, name } = result;
  const bytes = counts.decodeBytes[precision];
  return [
    `(${name}) ${precision}`,
    number(bytes / 1e6),
    number(1000 * seconds),
    number(bytes / seconds / 1e9),
    number(limits.bandwidth),
    percent(bytes / seconds / 1e9 / limits.bandwidth),
    percent(counts.decode / seconds / 1e9 / rate),
  ];
}

/** (a) fits the processor's caches and consists of small operators: neither limit says anything about it. */
const limited = ({ name }: Result): boolean => name !== 'a';

const rows = (all: readonly Kept[], row: (result: Result, precision: Precision) => string[]): string[][] =>
  workloadsOf(all)
    .filter(({ result }) => limited(result))
    .flatMap(({ level, result }) =>
      (['float32', 'bfloat16'] as const).map((precision) => {
        const [first, ...cells] = row(result, precision);
        return first === undefined ? [] : [`${first}, ${titles[level]}`, ...cells];
      }),
    )
    .filter((cells) => cells.length > 0);

const tableOrNone = (head: readonly string[], body: readonly string[][]): string =>
  body.length === 0 ? 'Not measured yet.' : table(head, body);

export const renderUpdateLimits = (all: readonly Kept[]): string =>
  tableOrNone(
    [
      'update',
      'useful 10^12 operations',
      's',
      '10^9/s',
      'products, 10^9/s',
      'share of the limit',
      'TRL, the same share',
    ],
    rows(all, updateRow),
  );

export const renderDecodeLimits = (all: readonly Kept[]): string =>
  tableOrNone(
    [
      'decoding',
      'MB per step',
      'ms per step',
      'GB/s',
      'memory, GB/s',
      'share of the memory limit',
      'share of the limit of products',
    ],
    rows(all, decodeRow),
  );
