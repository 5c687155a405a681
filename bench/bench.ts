/**
 * Side-by-side measurements: node bench/bench.ts [--only a,b,c,scaling] [--compare step,sft] [--threads N]
 * [--repeats N] [--warmup N] [--smoke]
 *
 * Each comparison starts its two programs as child processes and takes one step of each in turn. The numbers go to
 * bench/results/<workload>.json, and from there to docs/performance.md. `--compare` runs some comparisons of a workload
 * (of scaling: one program, visurf or TRL) and keeps the others of its file. `--smoke` runs our side alone, once, on the tiny model of the tests, and writes
 * no results: it shows that the benchmark still works.
 */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { chosen, comparisons, type Comparison } from './comparisons.ts';
import { countWork } from './counts.ts';
import { bestLimits, measureLimits } from './limits.ts';
import { describeMachine } from './machine.ts';
import { alternate, type Measured, type Program } from './measure.ts';
import { writePage } from './report/page.ts';
import { measureSeries } from './scaling.ts';
import type { Result, ScalingResult } from './report/result.ts';
import { runSmoke } from './smoke.ts';
import { gridOf, prepare, SHAPES, sizes, type Shape } from './workloads.ts';

const here = import.meta.dirname;
const results = join(here, 'results');
const out = join(here, 'out');

const { values: options } = parseArgs({
  options: {
    only: { type: 'string', default: process.env.ONLY ?? [...Object.keys(SHAPES), 'scaling'].join(',') },
    compare: { type: 'string' },
    repeats: { type: 'string' },
    warmup: { type: 'string' },
    threads: { type: 'string', default: String(availableParallelism()) },
    smoke: { type: 'boolean', default: false },
  },
});
const threads = Number(options.threads);

const say = (text: string): void => void process.stderr.write(`${text}\n`);

function checkSameWork({ id, ours, peer }: Comparison<Measured>): void {
  const [own, other] = [ours.steps[0], peer.steps[0]];
  if (own?.tokens === other?.tokens && own?.promptTokens === (other?.promptTokens ?? own?.promptTokens)) return;
  throw new Error(`${id} is not the same work: ${JSON.stringify(own)} of ours, ${JSON.stringify(other)} of the peer`);
}

async function run(name: string, shape: Shape): Promise<Result> {
  say(`workload ${name}: ${shape.title}`);
  const { file, workload } = prepare(shape, out);
  const machine = describeMachine();
  const kept = options.compare === undefined ? undefined : (readResult(name) as Result | undefined);
  let limits = kept?.limits;
  const done: Comparison<Measured>[] = [...(kept?.comparisons ?? [])];
  for (const pair of chosen(comparisons(file, threads, shape), shape, machine)) {
    if (options.compare !== undefined && !options.compare.split(',').includes(pair.id)) continue;
    say(` ${pair.title}`);
    limits = bestLimits(limits, measureLimits(threads, machine));
    const measured = await measurePair(pair, shape);
    checkSameWork(measured);
    const at = done.findIndex(({ id }) => id === pair.id);
    done.splice(at < 0 ? done.length : at, at < 0 ? 0 : 1, measured);
  }
  const order = comparisons(file, threads, shape).map(({ id }) => id);
  done.sort((a, b) => order.indexOf(a.id) - order.indexOf(b.id));
  return {
    ...{ name, title: shape.title, workload: sizes(workload), machine, threads },
    limits: limits ?? measureLimits(threads, machine),
    counts: countWork(workload, gridOf(shape.image), done[0]?.ours.steps[0]?.promptTokens ?? NaN),
    comparisons: done,
  };
}

async function measurePair(pair: Comparison<Program>, shape: Shape): Promise<Comparison<Measured>> {
  const [ours, peer] = await alternate([pair.ours, pair.peer], {
    warmup: Number(options.warmup ?? shape.warmup),
    repeats: Number(options.repeats ?? shape.repeats),
    threads,
    onStep: (program, step, i) =>
      say(`  ${program}, ${i}: ${step.seconds.total!.toFixed(3)} s, peak ${step.peakMb} MB`),
  });
  return { ...pair, ours: ours!, peer: peer! };
}

/** What an earlier run wrote. */
function readResult(name: string): unknown {
  const file = join(results, `${name}.json`);
  return existsSync(file) ? JSON.parse(readFileSync(file, 'utf8')) : undefined;
}

function save(result: Result | ScalingResult): void {
  mkdirSync(results, { recursive: true });
  const file = join(results, `${result.name}.json`);
  writeFileSync(file, `${JSON.stringify(result, undefined, 1)}\n`);
  say(`written: ${file}, ${writePage(results)}`);
}

if (options.smoke) await runSmoke(join(out, 'smoke'));
else
  for (const name of options.only.split(',')) {
    const shape = SHAPES[name];
    if (shape) save(await run(name, shape));
    else if (name === 'scaling') {
      const kept = readResult('scaling') as ScalingResult | undefined;
      save(await measureSeries({ out, threads, wanted: options.compare, say }, kept));
    } else throw new Error(`no workload ${name}; there are ${Object.keys(SHAPES).join(', ')}, scaling`);
  }
