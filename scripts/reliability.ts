/**
 * Tries every promise hard, a part after the other, and writes docs/reliability.md of what was counted:
 *
 *   make reliability                      all parts: hours, which it says before it begins
 *   make reliability ONLY='lock kill'     these parts; `--list` names them with their times
 *   make reliability SHARE=0.1            a tenth of every budget
 *
 * What a part has counted is kept as soon as all of it has held, whatever ends the rest; one that did not hold has no
 * rows any more. `--docs` writes the page again.
 */
import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { cpus } from 'node:os';
import { basename, join } from 'node:path';
import type { Trial } from '../packages/core/src/testing/reliability.ts';
import { wrapped } from './prose.ts';

const root = join(import.meta.dirname, '..');
const counted = join(root, 'docs/results/reliability.json');
const page = join(root, 'docs/reliability.md');

/** Files whose tests have a long budget. */
const PARTS = [
  ...['disk/lock', 'run/damage', 'run/crash', 'mirror/mirror', 'distributed/equal', 'untrusted', 'tasks/untrusted'].map(
    (name) => `packages/core/src/${name}`,
  ),
  ...['interrupt', 'kill', 'processes', 'soak'].map((name) => `packages/visurf/tests/${name}`),
].map((name) => `${name}.test.ts`);

const nameOf = (part: string): string =>
  part.includes('tasks/') ? 'answers' : basename(part, '.test.ts').replace('untrusted', 'fuzz');

interface Kept extends Trial {
  /** Day, in UTC, and the processor that it was tried on. */
  readonly date: string;
  readonly machine: string;
}

interface Counted {
  /** Seconds that a part took with its whole budget. */
  readonly seconds: Readonly<Record<string, number>>;
  readonly trials: readonly Kept[];
}

const { VISURF_RELIABILITY_SHARE: share = '1' } = process.env;
const machine = `${cpus()[0]?.model ?? 'unknown'}, Node.js ${process.version}`;
const read = (): Counted =>
  existsSync(counted) ? (JSON.parse(readFileSync(counted, 'utf8')) as Counted) : { seconds: {}, trials: [] };

const minutes = (seconds: number | undefined): string =>
  seconds === undefined ? 'not timed yet' : `${Math.ceil((Number(share) * seconds) / 60)} minutes`;

const stop = new AbortController();
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => stop.abort());

/** Runs the tests of a part, and keeps what they have counted where all held. @returns whether they did */
async function tried(part: string): Promise<boolean> {
  const results = join(root, '.tools', `reliability-${process.pid}.jsonl`);
  mkdirSync(join(root, '.tools'), { recursive: true });
  const started = performance.now();
  const vitest = join(root, 'node_modules/vitest/vitest.mjs');
  const child = spawn(process.execPath, [vitest, 'run', part], {
    ...{ cwd: root, stdio: 'inherit' },
    env: { ...process.env, VISURF_RELIABILITY: results },
  });
  stop.signal.addEventListener('abort', () => child.kill());
  const code = await new Promise((resolve) => child.on('exit', resolve));
  const lines = existsSync(results) ? readFileSync(results, 'utf8').trim().split('\n') : [];
  rmSync(results, { force: true });
  const date = new Date().toISOString().slice(0, 10);
  const fresh = lines.map((line): Kept => ({ ...(JSON.parse(line) as Trial), date, machine }));
  if (stop.signal.aborted) return false;
  const before = read();
  // What the part counted earlier is of other code.
  const trials = [...before.trials.filter(({ test }) => test !== part), ...(code === 0 ? fresh : [])];
  const isWhole = code === 0 && share === '1';
  const seconds = {
    ...before.seconds,
    ...(isWhole && { [nameOf(part)]: Math.round((performance.now() - started) / 1000) }),
  };
  save({ seconds, trials });
  return code === 0;
}

const number = (value: number): string => value.toLocaleString('en-US');

function row({ promise, test, count, of, worst, memory, date }: Kept): string {
  const cells = [
    promise,
    `${number(count)} ${of}`,
    worst === undefined ? '' : `${number(Math.round(worst))} ms`,
    memory === undefined ? '' : `${number(Math.round(memory / 2 ** 20))} MiB`,
    date,
    `[${basename(test, '.test.ts')}](../${test})`,
  ];
  return `| ${cells.join(' | ')} |`;
}

function save(found: Counted): void {
  writeFileSync(counted, `${JSON.stringify(found, null, 2)}\n`);
  const sorted = found.trials.toSorted((a, b) => a.test.localeCompare(b.test) || a.promise.localeCompare(b.promise));
  const table = [
    '| promise | tried | slowest | memory | on | test |',
    '| --- | --- | --- | --- | --- | --- |',
    ...sorted.map(row),
  ].join('\n');
  const machines = [...new Set(found.trials.map((trial) => trial.machine))].join('; ');
  const text = readFileSync(page, 'utf8').replace(
    /(?<=<!-- counted -->\n)[^]*?(?=<!-- end -->)/,
    () => `\n${machines}.\n\n${table}\n\n`,
  );
  writeFileSync(page, wrapped(text));
}

const asked = process.argv.slice(2).filter((each) => !each.startsWith('--'));
const unknown = asked.filter((each) => !PARTS.some((part) => each === part || each === nameOf(part)));
const chosen = PARTS.filter((part) => asked.length === 0 || asked.includes(part) || asked.includes(nameOf(part)));
const { seconds: known } = read();
if (unknown.length > 0) {
  console.error(`no part ${unknown.join(', ')}: there are ${PARTS.map(nameOf).join(', ')}`);
  process.exitCode = 2;
} else if (process.argv.includes('--docs')) save(read());
else {
  for (const part of chosen) console.log(`${nameOf(part)}: ${minutes(known[nameOf(part)])} (${part})`);
  const total = chosen.reduce((sum, part) => sum + (known[nameOf(part)] ?? 0), 0);
  console.log(`together: ${minutes(total)} and what is not timed yet`);
  if (!process.argv.includes('--list')) {
    for (const part of chosen) {
      if (!stop.signal.aborted && !(await tried(part))) process.exitCode = 1;
    }
    if (stop.signal.aborted) {
      console.error('stopped: what was counted is kept');
      process.exitCode = 130;
    }
  }
}
