/**
 * Did a figure fall? Compares what was measured at a level with what is committed at the same level, one line for each
 * that is more than 15% worse: node bench/fallen.ts [--level avx2]. `make bench` ends with it.
 */
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import type { Level } from '../packages/torch/src/levels.ts';
import { chosenLevel, levelOf, titles } from './level.ts';
import { fallen, fallenShare, figuresOf } from './report/figures.ts';
import { readResults } from './report/page.ts';
import type { AnyResult, Kept } from './report/result.ts';
import { percent } from './report/text.ts';

const results = join(import.meta.dirname, 'results');

/** Results as the last commit has them; none outside a repository. */
function committed(level: Level): Kept[] {
  const git = (...args: string[]): string =>
    execFileSync('git', args, { cwd: results, encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] });
  let files: string[];
  try {
    files = git('ls-tree', '--name-only', 'HEAD', './').split('\n');
  } catch {
    return [];
  }
  return files
    .filter((file) => file.endsWith(`.${level}.json`))
    .map((file) => ({ level: levelOf(file), result: JSON.parse(git('show', `HEAD:./${file}`)) as AnyResult }));
}

const { values } = parseArgs({ options: { level: { type: 'string' } } });
const level = chosenLevel(values.level);
const before = figuresOf(committed(level));
const after = figuresOf(readResults(results, level));
const common = after.filter(({ name }) => before.some((each) => each.name === name)).length;
const lines = fallen(before, after);
for (const line of lines) console.log(`fell: ${line}`);
const found = `${lines.length} of ${common} figures fell by more than ${percent(fallenShare)}`;
console.log(`${titles[level]}, against the committed ratios: ${common === 0 ? 'none to compare with' : found}`);
