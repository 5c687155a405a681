/**
 * Side-by-side measurements: node bench/bench.ts [--only a,b,c,scaling,vllm] [--level avx2] [--compare step,sft]
 * [--threads N] [--repeats N] [--warmup N] [--tokens N] [--smoke]
 *
 * Each comparison starts its two programs as child processes and takes one step of each in turn. The numbers go to
 * bench/results/<workload>.<level>.json, and from there to docs/performance.md. `--level` is the instruction set that
 * all programs are held to; the widest of this machine unless said. `--compare` runs some comparisons of a workload (of
 * scaling: one program, visurf or TRL) and keeps the others of its file. `--tokens` makes responses shorter: a trial,
 * which writes no results. Nor does `--smoke`, which runs our side alone, once, on the tests' tiny model: it shows
 * that the benchmark still works.
 */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { chosen, comparisons, type Comparison, type ComparisonId } from './comparisons.ts';
import { countWork } from './counts.ts';
import { chosenLevel, fileOf } from './level.ts';
import { bestLimits, measureLimits } from './limits.ts';
import { describeMachine } from './machine.ts';
import { alternate, type Measured, type Program } from './measure.ts';
import { writePage } from './report/page.ts';
import { measureSeries } from './scaling.ts';
import { renderComparison } from './report/comparison.ts';
import type { AnyResult, Result, ScalingResult, VllmResult } from './report/result.ts';
import { runSmoke } from './smoke.ts';
import { gridOf, prepare, SHAPES, sizes, vllm, withVllm, type Shape } from './workloads.ts';

const here = import.meta.dirname;
const results = join(here, 'results');
const out = join(here, 'out');

const { values: options } = parseArgs({
  options: {
    only: { type: 'string', default: process.env.ONLY ?? [...Object.keys(SHAPES), 'scaling', 'vllm'].join(',') },
    level: { type: 'string' },
    compare: { type: 'string', ...(process.env.COMPARE !== undefined && { default: process.env.COMPARE }) },
    tokens: { type: 'string' },
    repeats: { type: 'string' },
    warmup: { type: 'string' },
    threads: { type: 'string', default: String(availableParallelism()) },
    smoke: { type: 'boolean', default: false },
  },
});
const threads = Number(options.threads);
const level = chosenLevel(options.level);

/** A comparison's turns: a step of a peer may take minutes, and a workload should not take an hour. */
const secondsOfComparison = 120;

const say = (text: string): void => void process.stderr.write(`${text}\n`);

function checkSameWork({ id, ours, peer }: Comparison<Measured>): void {
  const [own, other] = [ours.steps[0], peer.steps[0]];
  if (own?.tokens === other?.tokens && own?.promptTokens === (other?.promptTokens ?? own?.promptTokens)) return;
  throw new Error(`${id} is not the same work: ${JSON.stringify(own)} of ours, ${JSON.stringify(other)} of the peer`);
}

/** @param kept an earlier result, whose comparisons stay unless they are measured again */
async function run(name: string, wanted: Shape, ids: readonly ComparisonId[], kept?: Result): Promise<Result> {
  const shape = options.tokens === undefined ? wanted : { ...wanted, maxNewTokens: Number(options.tokens) };
  say(`workload ${name}, ${level}: ${shape.title}`);
  const { file, workload } = prepare(shape, out);
  const machine = describeMachine();
  if (kept && kept.machine.cpu !== machine.cpu) {
    throw new Error(`the others of (${name}) were measured on ${kept.machine.cpu}: measure all, without --compare`);
  }
  let limits = kept?.limits;
  const done: Comparison<Measured>[] = [...(kept?.comparisons ?? [])];
  for (const pair of chosen(comparisons(file, threads, shape), ids, machine, level)) {
    say(` ${pair.title}`);
    limits = bestLimits(limits, measureLimits(threads, machine, level));
    const measured = await measurePair(pair, shape);
    checkSameWork(measured);
    const at = done.findIndex(({ id }) => id === pair.id);
    done.splice(at < 0 ? done.length : at, at < 0 ? 0 : 1, measured);
  }
  const order = comparisons(file, threads, shape).map(({ id }) => id);
  done.sort((a, b) => order.indexOf(a.id) - order.indexOf(b.id));
  return {
    ...{ name, title: shape.title, workload: sizes(workload), machine, threads },
    limits: limits ?? measureLimits(threads, machine, level),
    counts: countWork(workload, gridOf(shape.image), done[0]?.ours.steps[0]?.promptTokens ?? NaN),
    comparisons: done,
  };
}

async function measurePair(pair: Comparison<Program>, shape: Shape): Promise<Comparison<Measured>> {
  const [ours, peer] = await alternate([pair.ours, pair.peer], {
    level,
    seconds: secondsOfComparison,
    warmup: Number(options.warmup ?? shape.warmup),
    repeats: Number(options.repeats ?? shape.repeats),
    threads,
    onStep: (program, step, i) =>
      say(`  ${program}, ${i}: ${step.seconds.total!.toFixed(3)} s, peak ${step.peakMb} MB`),
  });
  return { ...pair, ours: ours!, peer: peer! };
}

/** What an earlier run wrote, where only some comparisons are measured now; a trial is of its own. */
function keptResult<R extends AnyResult>(name: R['name']): R | undefined {
  const file = join(results, fileOf(name, level));
  if (options.compare === undefined || options.tokens !== undefined || !existsSync(file)) return undefined;
  return JSON.parse(readFileSync(file, 'utf8')) as R;
}

/** vLLM is a private environment of its own, large, and not to be had on every machine: then only it is missing. */
function hasVllm(): boolean {
  try {
    execFileSync(vllm, ['-c', 'import vllm'], { stdio: ['ignore', 'ignore', 'pipe'] });
    return true;
  } catch (error) {
    const { stderr } = error as { stderr?: Buffer };
    say(`vllm is skipped, it could not be installed or loaded:\n${String(stderr ?? error).slice(-2000)}`);
    return false;
  }
}

async function runVllm(): Promise<VllmResult | undefined> {
  if (!hasVllm()) return undefined;
  const machine = describeMachine();
  const workloads: Result[] = [];
  for (const name of withVllm.workloads) {
    const shape = SHAPES[name]!;
    workloads.push(await run(name, { ...shape, title: `${shape.title}, against vLLM` }, withVllm.comparisons));
  }
  return { name: 'vllm', machine, threads, workloads };
}

function save(result: AnyResult): void {
  if (options.tokens !== undefined) return printTrial(result);
  mkdirSync(results, { recursive: true });
  const file = join(results, fileOf(result.name, level));
  writeFileSync(file, `${JSON.stringify(result, undefined, 1)}\n`);
  say(`written: ${file}, ${writePage(results)}`);
}

/** Tables of a trial, for the eye alone: no figure of other work than the workload's is written down. */
function printTrial(result: AnyResult): void {
  const all = 'workloads' in result ? result.workloads : 'comparisons' in result ? [result] : [];
  for (const each of all)
    for (const pair of each.comparisons) process.stdout.write(`${renderComparison(pair, each)}\n\n`);
}

async function measure(name: string): Promise<void> {
  const shape = SHAPES[name];
  if (shape) {
    const ids = (options.compare?.split(',') as ComparisonId[] | undefined) ?? shape.comparisons;
    save(await run(name, shape, ids, keptResult<Result>(name)));
  } else if (name === 'scaling') {
    const kept = keptResult<ScalingResult>('scaling');
    save(await measureSeries({ out, level, threads, wanted: options.compare, say }, kept));
  } else if (name === 'vllm') {
    const result = await runVllm();
    if (result) save(result);
  } else throw new Error(`no workload ${name}; there are ${Object.keys(SHAPES).join(', ')}, scaling, vllm`);
}

if (options.smoke) await runSmoke(join(out, 'smoke'), level);
else for (const name of options.only.split(',')) await measure(name);
