/**
 * Tries every promise hard, and writes docs/reliability.md of what was counted: `make reliability`. `--docs` writes the
 * page again of what was counted before.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { cpus } from 'node:os';
import { join } from 'node:path';
import type { Trial } from '../packages/core/src/testing/reliability.ts';
import { wrapped } from './prose.ts';

const root = join(import.meta.dirname, '..');
const counted = join(root, 'docs/results/reliability.json');
const page = join(root, 'docs/reliability.md');

/** Files whose tests have a long budget. */
const TESTS = [
  ...['run/crash', 'run/damage', 'disk/lock', 'tasks/untrusted', 'untrusted'].map(
    (name) => `packages/core/src/${name}.test.ts`,
  ),
  ...['kill', 'soak'].map((name) => `packages/visurf/tests/${name}.test.ts`),
];

interface Counted {
  readonly machine: string;
  readonly trials: readonly Trial[];
}

function measure(): Counted {
  const results = join(root, '.tools/reliability.jsonl');
  mkdirSync(join(root, '.tools'), { recursive: true });
  rmSync(results, { force: true });
  const chosen = process.argv.slice(2);
  const vitest = join(root, 'node_modules/vitest/vitest.mjs');
  const { status } = spawnSync(process.execPath, [vitest, 'run', ...(chosen.length > 0 ? chosen : TESTS)], {
    cwd: root,
    stdio: 'inherit',
    env: { ...process.env, VISURF_RELIABILITY: results },
  });
  const lines = existsSync(results) ? readFileSync(results, 'utf8').trim().split('\n') : [];
  const fresh = lines.filter((line) => line !== '').map((line) => JSON.parse(line) as Trial);
  if (status !== 0) process.exitCode = 1;
  const before = existsSync(counted) ? (JSON.parse(readFileSync(counted, 'utf8')) as Counted).trials : [];
  const trials = new Map([...before, ...fresh].map((trial) => [trial.promise, trial]));
  return { machine: `${cpus()[0]?.model ?? 'unknown'}, Node.js ${process.version}`, trials: [...trials.values()] };
}

const number = (value: number): string => value.toLocaleString('en-US');

function row({ promise, test, count, of, worst, memory }: Trial): string {
  const cells = [
    promise,
    `${number(count)} ${of}`,
    worst === undefined ? '' : `${number(Math.round(worst))} ms`,
    memory === undefined ? '' : `${number(Math.round(memory / 2 ** 20))} MiB`,
    `[${test.split('/').at(-1)!.replace('.test.ts', '')}](../${test})`,
  ];
  return `| ${cells.join(' | ')} |`;
}

function written(text: string, { machine, trials }: Counted): string {
  const sorted = trials.toSorted((a, b) => a.test.localeCompare(b.test) || a.promise.localeCompare(b.promise));
  const table = [
    '| promise | tried | slowest | memory | test |',
    '| --- | --- | --- | --- | --- |',
    ...sorted.map(row),
  ].join('\n');
  return text.replace(/(?<=<!-- counted -->\n)[^]*?(?=<!-- end -->)/, () => `\n${machine}.\n\n${table}\n\n`);
}

const found = process.argv.includes('--docs') ? (JSON.parse(readFileSync(counted, 'utf8')) as Counted) : measure();
writeFileSync(counted, `${JSON.stringify(found, null, 2)}\n`);
writeFileSync(page, wrapped(written(readFileSync(page, 'utf8'), found)));
