/** One comparison as a table: ours, the peer, and the ratio of neighbouring steps. */
import type { Comparison } from '../comparisons.ts';
import type { Measured } from '../measure.ts';
import type { Step } from '../peer.ts';
import { ratios, summary } from '../statistics.ts';
import type { Result } from './result.ts';
import { number, range, table, total, updateSeconds } from './text.ts';

/** What is compared of a step, in seconds, and how much was done in that time. */
interface Row {
  readonly name: string;
  readonly seconds: (step: Step) => number;
  readonly amount: number;
}

function rowsOf({ id, ours }: Comparison<Measured>, { workload }: Result): Row[] {
  const { prompts, group, maxNewTokens } = workload;
  const step = ours.steps[0];
  const generate: Row = {
    name: 'rollouts, tokens/s',
    seconds: ({ seconds }) => seconds.generate ?? NaN,
    amount: prompts * group * maxNewTokens,
  };
  if (/^(rollouts|vllm)/.test(id)) return [{ ...generate, name: 'tokens/s, generation alone' }];
  const samples: Row = { name: 'samples/s', seconds: total, amount: prompts };
  if (id === 'sft') return [samples, { name: 'update, tokens/s', seconds: updateSeconds, amount: step?.tokens ?? NaN }];
  const update = { name: 'update, response tokens/s', seconds: updateSeconds, amount: generate.amount };
  return [samples, generate, update];
}

function phases(steps: readonly Step[]): string {
  const names = Object.keys(steps[0]?.seconds ?? {}).filter((name) => name !== 'total');
  return names
    .map((name) => `${name} ${number(summary(steps.map(({ seconds }) => seconds[name] ?? 0)).median)}`)
    .join(', ');
}

export const peakMb = ({ steps }: Measured): number => Math.max(...steps.map((step) => step.peakMb));

export function renderComparison(comparison: Comparison<Measured>, result: Result): string {
  const { title, ours, peer } = comparison;
  const both = [ours, peer];
  const faster = (seconds: (step: Step) => number): string =>
    `${range(ratios(peer.steps.map(seconds), ours.steps.map(seconds)))} times`;
  const rows = [
    ['step, s', ...both.map(({ steps }) => range(summary(steps.map(total)))), faster(total)],
    ...rowsOf(comparison, result).map(({ name, seconds, amount }) => [
      name,
      ...both.map(({ steps }) => number(amount / summary(steps.map(seconds)).median)),
      faster(seconds),
    ]),
    [
      'processor seconds',
      ...both.map(({ steps }) => number(summary(steps.map((step) => step.cpuSeconds)).median)),
      faster((step) => step.cpuSeconds),
    ],
    ['peak memory, MB', ...both.map((each) => number(peakMb(each))), `${number(peakMb(ours) / peakMb(peer))} of it`],
    ['phases, s', ...both.map(({ steps }) => phases(steps)), ''],
  ];
  const held = peer.ready.sequences === undefined ? '' : `; ${peer.ready.sequences} sequences at once`;
  return [
    `#### ${title}`,
    '',
    table(['', ours.name, `${peer.name} (${peer.ready.peer}${held})`, 'ours against it, median (range)'], rows),
  ].join('\n');
}
