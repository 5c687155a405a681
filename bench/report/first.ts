/** What a reader with a usual laptop gets: the page begins with it. */
import type { ComparisonId } from '../comparisons.ts';
import { isHeld } from '../level.ts';
import { summary } from '../statistics.ts';
import { kinds } from './figures.ts';
import { find } from './limits.ts';
import { workloadsOf, type Kept, type Result } from './result.ts';
import { number, table, total } from './text.ts';

/** In float32: with AVX2 a processor has no products in bfloat16. */
const columns: readonly (readonly [title: string, what: string])[] = [
  ['against TRL', 'RLVR step against TRL, float32'],
  ["rollouts against transformers' generate", "rollouts against transformers' generate, float32"],
  ["rollouts against vLLM's", 'rollouts against vLLM for CPUs, float32'],
  ['SFT step against a PyTorch loop', 'SFT step against a PyTorch loop, float32'],
  ['memory against TRL', 'peak memory of an RLVR step against TRL, float32'],
];

function medianSeconds(results: readonly Result[], id: ComparisonId): string {
  const steps = results.flatMap((result) => find(result, id)?.ours.steps ?? []);
  return steps.length === 0 ? '' : `${number(summary(steps.map(total)).median)} s`;
}

function rowOf(name: string, results: readonly Kept<Result>[]): string[] {
  const own = results.filter(({ result }) => result.name === name);
  const cells = columns.map(([, what]) => {
    const kind = kinds.find((each) => each.what === what)!;
    const found = own.flatMap(({ level, result }) => {
      const value = kind.measure(result);
      return value === undefined ? [] : [`${kind.format(value)}${isHeld(level, result.machine) ? ' *' : ''}`];
    });
    return found[0] ?? '';
  });
  const step = medianSeconds(
    own.map(({ result }) => result),
    'step',
  );
  return [`(${name})`, step, ...cells].map((each) => (each === '' ? 'not measured here yet' : each));
}

export function renderFirst(all: readonly Kept[]): string {
  const results = workloadsOf(all).filter(({ level }) => level === 'avx2');
  const head = ['AVX2, float32', 'our RLVR step', ...columns.map(([title]) => title)];
  const names = ['a', 'b', 'c'];
  return table(
    head,
    names.map((name) => rowOf(name, results)),
  );
}
