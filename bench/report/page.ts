/** docs/performance.md: page.md with what the benchmark measured, what readers with AVX2 get first. */
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Level } from '../../packages/torch/src/levels.ts';
import { isHeld, levelOf, LEVELS, titles } from '../level.ts';
import type { Measured } from '../measure.ts';
import { renderComparison } from './comparison.ts';
import { renderFirst } from './first.ts';
import { renderGoals } from './goals.ts';
import { renderDecodeLimits, renderUpdateLimits } from './limits.ts';
import { rivalsOf, scalingOf, shownLevels, workloadsOf, type AnyResult, type Kept, type Result } from './result.ts';
import { renderRival } from './rival.ts';
import { renderScaling } from './scaling.ts';

function machineOf({ level, result: { machine, threads } }: Kept): string {
  const { cpu, cores, features, memoryGb, load } = machine;
  const held = isHeld(level, machine) ? `, held to ${titles[level]} *` : '';
  return (
    `${threads} thread${threads === 1 ? '' : 's'} on ${cpu}, ${cores} cores, ${features.join(', ')}${held}, ` +
    `${memoryGb} GB; load before the run ${load} per core`
  );
}

function renderWorkload(kept: Kept<Result>): string {
  const { name, title, workload, counts, comparisons } = kept.result;
  const { prompts, group, maxNewTokens } = workload;
  return [
    `### (${name}) ${title}, ${titles[kept.level]}`,
    '',
    `${prompts} prompt${prompts === 1 ? '' : 's'} of ${counts.promptTokens} tokens, ${group} rollouts each of ` +
      `${maxNewTokens} tokens. ${machineOf(kept)}.`,
    '',
    comparisons.map((each) => renderComparison(each, kept.result)).join('\n\n'),
  ].join('\n');
}

const versions = (results: readonly Kept<Result>[]): string[] => {
  const programs = results.flatMap(({ result: { comparisons } }) =>
    comparisons.flatMap(({ ours, peer }): Measured[] => [ours, peer]),
  );
  return [...new Set(programs.map(({ ready }) => `${ready.peer} (torch ${ready.torch})`))];
};

/** What there is of every level that the page shows, and which levels lack it. */
function byLevel<R extends AnyResult>(
  all: readonly Kept[],
  some: readonly Kept<R>[],
  render: (kept: Kept<R>) => string,
): string {
  const parts = shownLevels(all).map((level) => {
    const found = some.filter((each) => each.level === level);
    return found.length === 0 ? `${titles[level]}: not measured here yet.` : found.map(render).join('\n\n');
  });
  return parts.join('\n\n');
}

/** @param template with a line `{{name}}` for each part */
export function renderPage(template: string, unordered: readonly Kept[]): string {
  const all = [...unordered].sort((a, b) => LEVELS.indexOf(a.level) - LEVELS.indexOf(b.level));
  const results = workloadsOf(all);
  const parts: Record<string, string> = {
    programs: versions(results).join('; '),
    first: renderFirst(all),
    goals: renderGoals(all),
    comparisons: byLevel(all, results, renderWorkload),
    'update limits': renderUpdateLimits(all),
    'decode limits': renderDecodeLimits(all),
    scaling: byLevel(all, scalingOf(all), (each) => `${titled(each)}\n\n${renderScaling(each.result)}`),
    rival: byLevel(all, rivalsOf(all), (each) => renderRival(each.result, `${titles[each.level]}: ${machineOf(each)}`)),
  };
  return template.replace(/\{\{([\w ]+)\}\}/g, (_, name: string) => parts[name] ?? '');
}

const titled = (kept: Kept): string => `${titles[kept.level]}: ${machineOf(kept)}.`;

export const pageOf = (all: readonly Kept[]): string =>
  renderPage(readFileSync(join(import.meta.dirname, 'page.md'), 'utf8'), all);

/** Everything in a folder of results. */
export function readResults(folder: string, level?: Level): Kept[] {
  if (!existsSync(folder)) return [];
  const files = readdirSync(folder).filter((file) => file.endsWith('.json'));
  return files
    .sort()
    .map((file) => ({
      level: levelOf(file),
      result: JSON.parse(readFileSync(join(folder, file), 'utf8')) as AnyResult,
    }))
    .filter((each) => level === undefined || each.level === level);
}

/** Writes the page of everything in `folder`. @returns its path */
export function writePage(folder: string): string {
  const page = join(import.meta.dirname, '..', '..', 'docs', 'performance.md');
  writeFileSync(page, pageOf(readResults(folder)));
  return page;
}
