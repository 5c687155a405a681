/** docs/performance.md: page.md with what the benchmark measured. */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Measured } from '../measure.ts';
import { renderComparison } from './comparison.ts';
import { renderGoals } from './goals.ts';
import { renderDecodeLimits, renderUpdateLimits } from './limits.ts';
import type { Result, RivalResult, ScalingResult } from './result.ts';
import { renderRival } from './rival.ts';
import { renderScaling } from './scaling.ts';

type AnyResult = Result | ScalingResult | RivalResult;

const isScaling = (result: AnyResult): result is ScalingResult => 'series' in result;
const isRival = (result: AnyResult): result is RivalResult => 'systems' in result;

function machineOf({ machine, threads }: AnyResult): string {
  const { cpu, cores, features, memoryGb, load } = machine;
  return (
    `${threads} thread${threads === 1 ? '' : 's'} on ${cpu}, ${cores} cores, ${features.join(', ')}, ${memoryGb} GB; ` +
    `load before the run ${load} per core`
  );
}

function renderWorkload(result: Result): string {
  const { name, title, workload, counts, comparisons } = result;
  const { prompts, group, maxNewTokens } = workload;
  return [
    `### (${name}) ${title}`,
    '',
    `${prompts} prompt${prompts === 1 ? '' : 's'} of ${counts.promptTokens} tokens, ${group} rollouts each of ` +
      `${maxNewTokens} tokens. ${machineOf(result)}.`,
    '',
    comparisons.map((each) => renderComparison(each, result)).join('\n\n'),
  ].join('\n');
}

const versions = (results: readonly Result[]): string[] => {
  const programs = results.flatMap(({ comparisons }) =>
    comparisons.flatMap(({ ours, peer }): Measured[] => [ours, peer]),
  );
  return [...new Set(programs.map(({ ready }) => `${ready.peer} (torch ${ready.torch})`))];
};

/** @param template with a line `{{name}}` for each part */
export function renderPage(template: string, all: readonly AnyResult[]): string {
  const results = all.filter((each): each is Result => !isScaling(each) && !isRival(each));
  const scaling = all.find(isScaling);
  const rival = all.find(isRival);
  const parts: Record<string, string> = {
    programs: versions(results).join('; '),
    goals: renderGoals(results),
    comparisons: results.map(renderWorkload).join('\n\n'),
    'update limits': renderUpdateLimits(results),
    'decode limits': renderDecodeLimits(results),
    scaling: scaling ? `${machineOf(scaling)}.\n\n${renderScaling(scaling)}` : 'Not measured yet.',
    rival: rival ? renderRival(rival, machineOf(rival)) : 'Not measured yet.',
  };
  return template.replace(/\{\{([\w ]+)\}\}/g, (_, name: string) => parts[name] ?? '');
}

export const pageOf = (results: readonly AnyResult[]): string =>
  renderPage(readFileSync(join(import.meta.dirname, 'page.md'), 'utf8'), results);

/** Writes the page of everything in `folder`. @returns its path */
export function writePage(folder: string): string {
  const files = readdirSync(folder).filter((file) => file.endsWith('.json'));
  const read = (file: string): AnyResult => JSON.parse(readFileSync(join(folder, file), 'utf8')) as AnyResult;
  const page = join(import.meta.dirname, '..', '..', 'docs', 'performance.md');
  writeFileSync(page, pageOf(files.sort().map(read)));
  return page;
}
