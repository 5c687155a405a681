/** What we want to reach, and what was reached, with a column for every instruction set. */
import { isHeld, titles } from '../level.ts';
import type { Level } from '../../packages/torch/src/levels.ts';
import { kinds, type Kind } from './figures.ts';
import { shownLevels, workloadsOf, type Kept } from './result.ts';
import { table } from './text.ts';
import { verdict } from './verdict.ts';

const notMeasured = 'not measured here yet';

/** Marks figures of a machine that was held to a level: see `{{held}}` on the page. */
const mark = (level: Level, machine: Parameters<typeof isHeld>[1]): string => (isHeld(level, machine) ? ' *' : '');

function cell(kind: Kind, name: string, level: Level, all: readonly Kept[]): string {
  if (kind.precision === 'bfloat16' && level !== 'avx512') return 'no such products';
  for (const { level: at, result } of workloadsOf(all)) {
    const value = at === level && result.name === name ? kind.measure(result) : undefined;
    if (value === undefined) continue;
    const goal = kind.goals[name];
    const said = goal === undefined ? '' : `: ${verdict(kind.better, value, goal)}`;
    return `${kind.format(value)}${mark(level, result.machine)}${said}`;
  }
  return notMeasured;
}

export function renderGoals(all: readonly Kept[]): string {
  const levels = shownLevels(all);
  const rows = kinds.flatMap((kind) =>
    Object.entries(kind.goals).map(([name, goal]) => [
      `(${name}) ${kind.what}`,
      kind.format(goal),
      ...levels.map((level) => cell(kind, name, level, all)),
    ]),
  );
  return table(['figure', 'goal', ...levels.map((level) => titles[level])], rows);
}
