/**
 * Side-by-side measurements: node bench/bench.ts [--only a] [--repeats 7] [--warmup 2] [--threads N] [--smoke]
 *
 * Each comparison starts its programs as child processes and takes one step of each in turn. The numbers go to
 * bench/results/<workload>.json, and from there to docs/performance.md. `--smoke` runs our side alone, once, on the tiny
 * model of the tests, and writes nothing: it shows that the benchmark still works.
 */
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { describeMachine } from './machine.ts';
import { alternate, type Measured, type Program } from './measure.ts';
import type { Step } from './peer.ts';
import { renderReport, type Comparison, type Result } from './report.ts';
import { prepare, prepareSmoke, python, SHAPES, type Workload } from './workloads.ts';

const here = import.meta.dirname;
const results = join(here, 'results');

const { values: options } = parseArgs({
  options: {
    only: { type: 'string', default: process.env.ONLY ?? Object.keys(SHAPES).join(',') },
    repeats: { type: 'string', default: '7' },
    warmup: { type: 'string', default: '2' },
    threads: { type: 'string', default: String(availableParallelism()) },
    smoke: { type: 'boolean', default: false },
  },
});
const repeats = Number(options.repeats);
const warmup = Number(options.warmup);
const threads = Number(options.threads);

const say = (text: string): void => void process.stderr.write(`${text}\n`);

/** What runs against what; ours first, then the peer, then what else is of interest. */
function comparisons(file: string): { title: string; ours: Program[]; peers: Program[] }[] {
  const common = ['--workload', file, '--threads', String(threads)];
  const ours = (kind: string): Program => ({
    name: `visurf ${kind}`,
    command: [process.execPath, join(here, 'ours.ts'), '--kind', kind, ...common],
  });
  const peer = (name: string, script: string, ...extra: string[]): Program => ({
    name,
    command: [python, join(here, script), ...common, ...extra],
  });
  return [
    { title: 'Whole step', ours: [ours('rlvr'), ours('visurf')], peers: [peer('TRL', 'peer_trl.py')] },
    { title: 'Rollouts', ours: [ours('rollouts')], peers: [peer('transformers generate', 'peer_generate.py')] },
    { title: 'SFT step', ours: [ours('sft')], peers: [peer('PyTorch loop', 'peer_sft.py')] },
  ];
}

function checkSameWork(measured: readonly Measured[]): void {
  const first = measured[0]?.steps[0];
  for (const { name, steps } of measured) {
    const step = steps[0];
    if (name === 'visurf visurf' || step === undefined || first === undefined) continue;
    if (step.tokens !== first.tokens || (step.promptTokens ?? first.promptTokens) !== first.promptTokens) {
      throw new Error(`not the same work: ${JSON.stringify(step)} of ${name}, ${JSON.stringify(first)} of ours`);
    }
  }
}

async function run(name: string): Promise<void> {
  say(`workload ${name}: ${SHAPES[name]?.title ?? ''}`);
  const { file, workload } = prepare(name, join(here, 'out'));
  const machine = describeMachine();
  const done: Comparison[] = [];
  for (const { title, ours, peers } of comparisons(file)) {
    const measured = await alternate([...ours, ...peers], {
      warmup,
      repeats,
      threads,
      onStep: (program, step, i) => say(`  ${program}, ${i} of ${repeats}: ${step.seconds.total!.toFixed(3)} s`),
    });
    checkSameWork(measured);
    done.push({ title, programs: measured });
  }
  if (!options.smoke)
    save({ name, title: SHAPES[name]!.title, workload: sizes(workload), machine, threads, comparisons: done });
}

/** The workload without this machine's paths. */
function sizes({ model: _model, samples, ...rest }: Workload): Result['workload'] {
  return { ...rest, problem: samples[0]!.problem };
}

function save(result: Result): void {
  mkdirSync(results, { recursive: true });
  writeFileSync(join(results, `${result.name}.json`), `${JSON.stringify(result, undefined, 1)}\n`);
  const all = readdirSync(results).filter((file) => file.endsWith('.json'));
  const read = (file: string): Result => JSON.parse(readFileSync(join(results, file), 'utf8')) as Result;
  const page = join(here, '..', 'docs', 'performance.md');
  writeFileSync(page, renderReport(all.sort().map(read)));
  say(`written: ${join(results, `${result.name}.json`)}, ${page}`);
}

async function smoke(): Promise<void> {
  const { file } = prepareSmoke(join(here, 'out', 'smoke'));
  for (const { ours } of comparisons(file)) {
    const onStep = (program: string, step: Step): void => say(`${program}: ${step.tokens} tokens`);
    checkSameWork(await alternate(ours, { warmup: 0, repeats: 1, threads: 1, onStep }));
  }
}

if (options.smoke) await smoke();
else for (const name of options.only.split(',')) await run(name);
