/**
 * ViSurf by our trainer against ViSurf built on TRL (peer_trl_visurf.py), on the recipe mini-grounding: the same base, data, order,
 * number of updates and settings; what do both reach, in what time and memory? Fills in results/rival.<level>.json and
 * docs/performance.md.
 *
 *     node bench/rival.ts                          90 updates, seed 0
 *     node bench/rival.ts --updates 40 --seeds 0,1 [--level avx2] [--threads N] [--output FOLDER]
 *     node bench/rival.ts --check                  only the checks: is it the same method, and does it resume?
 *
 * With --output nothing is written down: results go there.
 */
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { loadConfig } from '../packages/core/src/config/load.ts';
import type { Config } from '../packages/core/src/config/schema.ts';
import { readEvents } from '../packages/core/src/run/events.ts';
import { stepName } from '../packages/core/src/run/checkpoint.ts';
import { BASE_MODEL, generateDataset } from '../recipes/mini-grounding/src/index.ts';
import { tunedAllocator } from './comparisons.ts';
import { chosenLevel, environmentOf, fileOf } from './level.ts';
import { describeMachine } from './machine.ts';
import { watch, type Watched } from './resident.ts';
import type { RivalResult, RivalRun, RivalSystem } from './report/result.ts';
import { writePage } from './report/page.ts';
import { faults, stepOfOurs, type Differences, type Resumed } from './rival-check.ts';
import { prepareRival } from './rival-prepare.ts';
import { writeRivalWorkload } from './rival-workload.ts';
import { python } from './workloads.ts';

const here = import.meta.dirname;
const program = join(here, '..', 'packages/visurf/src/main.ts');
const recipe = join(here, '..', 'recipes/mini-grounding/config.yaml');
/** As in the recipe's table. Splits share no scene; nothing was chosen on those of `test`. */
const images = { train: 2000, validation: 50, test: 400 };

const { values: options } = parseArgs({
  options: {
    level: { type: 'string' },
    updates: { type: 'string', default: '90' },
    seeds: { type: 'string', default: '0' },
    threads: { type: 'string', default: String(availableParallelism()) },
    output: { type: 'string' },
    check: { type: 'boolean', default: false },
  },
});
const updates = Number(options.updates);
const threads = Number(options.threads);
const level = chosenLevel(options.level);
const environment = {
  OMP_NUM_THREADS: options.threads,
  MKL_NUM_THREADS: options.threads,
  ...environmentOf(level),
};

/** Milliseconds between looks at a program's memory and processor time: runs are long, and looking costs time, too. */
const sampled = 100;

const say = (text: string): void => void process.stderr.write(`${text}\n`);

/** The recipe with so many updates, and without evaluations on the way, which the rival does not make either. */
function configOf(folder: string, seed: number, changes: Readonly<Record<string, unknown>> = {}): [Config, string[]] {
  const values = {
    ...{ model: BASE_MODEL, output: join(folder, 'visurf'), seed, threads, steps: updates },
    ...{ 'data.train': join(folder, 'data/train.jsonl'), 'data.validation': join(folder, 'data/validation.jsonl') },
    ...{ 'eval.every': 0, 'checkpoint.every': updates, 'optimizer.warmupSteps': Math.min(10, Math.floor(updates / 8)) },
    ...changes,
  };
  const overrides = Object.entries(values).map(([key, value]) => `${key}=${JSON.stringify(value)}`);
  return [loadConfig(recipe, overrides), overrides];
}

async function timed<T>(work: () => Promise<T>): Promise<[T, number]> {
  const start = performance.now();
  const result = await work();
  return [result, (performance.now() - start) / 1000];
}

/** Runs our command line in a process of its own. */
const visurf = (...args: string[]): Promise<Watched> =>
  watch(process.execPath, [program, ...args, '--json'], environment, undefined, sampled);

const sumOf = (steps: readonly Readonly<Record<string, number>>[], name?: string): number =>
  steps.reduce((sum, seconds) => sum + (name === undefined ? total(seconds) : (seconds[name] ?? 0)), 0);
const mean = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0) / values.length;
const total = (seconds: Readonly<Record<string, number>>): number => Object.values(seconds).reduce((a, b) => a + b, 0);

async function evaluated(
  model: string,
  folder: string,
  name: string,
  maxNewTokens: number,
): Promise<RivalRun['metrics']> {
  const data = join(folder, 'data/test.jsonl');
  const answers = join(folder, `${name}-answers.jsonl`);
  const args = ['--model', model, '--data', data, '--max-new-tokens', String(maxNewTokens), '--output', answers];
  const { output } = await visurf('eval', ...args);
  return (JSON.parse(output) as { metrics: RivalRun['metrics'] }).metrics;
}

async function runOurs(folder: string, seed: number): Promise<RivalRun> {
  const [config, overrides] = configOf(folder, seed);
  rmSync(config.output, { recursive: true, force: true });
  const [{ resident, processorSeconds }, processSeconds] = await timed(() => visurf('train', recipe, ...overrides));
  const events = readEvents(join(config.output, 'events.jsonl')).filter((event) => event.type === 'step');
  const steps = events.map(({ seconds }) => seconds);
  const checkpoint = join(config.output, 'checkpoints', stepName(updates));
  return {
    seed,
    seconds: sumOf(steps),
    phases: { rollouts: sumOf(steps, 'rollout'), reward: sumOf(steps, 'reward'), update: sumOf(steps, 'update') },
    processSeconds,
    processorSeconds,
    peakMb: resident / 2 ** 20,
    labelActive: mean(events.map(({ metrics }) => metrics.labelActive ?? NaN)),
    scored: mean(events.map(({ metrics }) => metrics.scored ?? NaN)),
    metrics: await evaluated(checkpoint, folder, 'visurf', config.rollout.maxNewTokens),
  };
}

/** What the rival says: of a step, and at the end. */
interface RivalLine {
  readonly peer?: string;
  readonly step?: number;
  /** By phase. */
  readonly seconds?: Readonly<Record<string, number>>;
  readonly labelActive?: number;
  readonly labelLeft?: number;
  readonly scorerPeakMb?: number;
  readonly differences?: Differences;
  readonly resumed?: Resumed;
}

async function rival(
  file: string,
): Promise<Pick<Watched, 'resident' | 'processorSeconds'> & { readonly lines: RivalLine[] }> {
  const args = [join(here, 'peer_trl_visurf.py'), '--workload', file, '--threads', String(threads)];
  const watched = await watch(python, args, { ...environment, ...tunedAllocator }, undefined, sampled);
  const written = watched.output.trim().split('\n');
  return { ...watched, lines: written.map((line) => JSON.parse(line) as RivalLine) };
}

async function runRival(folder: string, seed: number): Promise<RivalRun & { peer: string }> {
  const [config] = configOf(folder, seed);
  const model = join(folder, 'trl');
  rmSync(model, { recursive: true, force: true });
  const { workload } = await prepareRival(config, model);
  const file = writeRivalWorkload(join(folder, 'workload.json'), workload);
  const [{ lines, resident, processorSeconds }, processSeconds] = await timed(() => rival(file));
  const steps = lines.flatMap(({ seconds }) => (seconds ? [seconds] : []));
  if (steps.length !== updates) throw new Error(`the rival made ${steps.length} updates of ${updates}`);
  const values = (name: 'labelLeft' | 'labelActive'): number[] => lines.flatMap((line) => line[name] ?? []);
  const seconds = sumOf(steps, 'total');
  const [rollouts, reward] = [sumOf(steps, 'prepare') + sumOf(steps, 'generate'), sumOf(steps, 'reward')];
  return {
    seed,
    seconds,
    phases: { rollouts, reward, update: seconds - rollouts - reward },
    processSeconds,
    processorSeconds,
    peakMb: resident / 2 ** 20,
    scorerPeakMb: said(lines, 'scorerPeakMb'),
    labelActive: mean(values('labelActive')),
    scored: 1,
    labelLeft: Math.max(...values('labelLeft')),
    metrics: await evaluated(model, folder, 'trl', config.rollout.maxNewTokens),
    peer: said(lines, 'peer'),
  };
}

/** Repeats one step of ours with TRL. @throws where rewards, advantages or the gradient differ by more than they may */
async function checkStep(folder: string): Promise<Differences> {
  const place = join(folder, 'check');
  mkdirSync(place, { recursive: true });
  const [config] = configOf(folder, 0, { steps: 1, promptsPerStep: 16, 'optimizer.warmupSteps': 0 });
  const prepared = await prepareRival(config, place);
  const replay = await stepOfOurs(config, prepared, place);
  const { lines } = await rival(writeRivalWorkload(join(place, 'workload.json'), { ...prepared.workload, replay }));
  const found = said(lines, 'differences');
  say(`one step, repeated: ${JSON.stringify(found)}`);
  const wrong = faults(found);
  if (wrong.length > 0) throw new Error(`the rival does something else:\n${wrong.join('\n')}`);
  return found;
}

/** Is a run of the rival's that is resumed halfway the same run? */
async function checkResume(folder: string): Promise<Resumed> {
  const place = join(folder, 'resume');
  const [config] = configOf(folder, 0, { steps: 6, promptsPerStep: 8, 'optimizer.warmupSteps': 0 });
  const { workload } = await prepareRival(config, place);
  mkdirSync(place, { recursive: true });
  const { lines } = await rival(writeRivalWorkload(join(place, 'workload.json'), { ...workload, saveAt: 3 }));
  const found = said(lines, 'resumed');
  say(`a run made again, and resumed: ${JSON.stringify(found)}`);
  return found;
}

function said<K extends keyof RivalLine>(lines: readonly RivalLine[], name: K): NonNullable<RivalLine[K]> {
  const found = lines.find((line) => line[name] !== undefined)?.[name];
  if (found === undefined) throw new Error(`the rival did not say its ${name}`);
  return found;
}

const check = async (folder: string): Promise<RivalResult['checked']> => ({
  step: await checkStep(folder),
  resumed: await checkResume(folder),
});

const out = options.output ?? join(here, 'out', 'rival');

async function makeData(seed: number): Promise<string> {
  const folder = join(out, `seed-${seed}`);
  await generateDataset(join(folder, 'data'), { seed, images });
  return folder;
}

async function measure(seeds: readonly number[]): Promise<RivalResult> {
  const machine = describeMachine();
  const checked = await check(await makeData(seeds[0] ?? 0));
  const [ours, theirs]: [RivalRun[], (RivalRun & { peer: string })[]] = [[], []];
  const told = ({ seconds, peakMb, metrics }: RivalRun): string =>
    `${seconds.toFixed(1)} s, ${Math.round(peakMb)} MB, ${JSON.stringify(metrics)}`;
  for (const seed of seeds) {
    const folder = await makeData(seed);
    ours.push(await runOurs(folder, seed));
    say(`seed ${seed}, visurf: ${told(ours.at(-1)!)}`);
    theirs.push(await runRival(folder, seed));
    say(`seed ${seed}, TRL: ${told(theirs.at(-1)!)}`);
  }
  const systems: RivalSystem[] = [
    { name: 'visurf', runs: ours },
    { name: theirs[0]!.peer, runs: theirs.map(({ peer: _, ...run }) => run) },
  ];
  return { name: 'rival', machine, threads, updates, checked, systems };
}

if (options.check) await check(await makeData(0));
else {
  const result = await measure(options.seeds.split(',').map(Number));
  const folder = options.output ?? join(here, 'results');
  const file = join(folder, fileOf('rival', level));
  writeFileSync(file, `${JSON.stringify(result, undefined, 1)}\n`);
  say(options.output === undefined ? `written: ${writePage(folder)}` : `written: ${file}`);
}
