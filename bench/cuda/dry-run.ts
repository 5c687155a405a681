/**
 * Is a GPU used as it should be? Steps of every family and mode, and commands, on a card that computes nothing
 * (runtime.cc): everything dispatches, the host touches none of the card's memory, and what is asked of the card is
 * counted. Counts are compared with counts.json: they may only fall, and what has fallen is written there.
 *
 *     node bench/cuda/dry-run.ts              all cases
 *     node bench/cuda/dry-run.ts --only LoRA  those whose name contains it (of a whole name that one alone); can be repeated
 *     node bench/cuda/dry-run.ts --kernels    which kernels and products, too
 *     node bench/cuda/dry-run.ts --tables     nothing: those of docs/gpu.md again, of what was counted and of the plan
 */
import { spawn } from 'node:child_process';
import { copyFileSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

import { format } from 'prettier';

import { cases, sample, type Case, type Step } from './cases.ts';
import type { Counts } from './counts.ts';
import { fitsTable, planStep } from './planned.ts';
import { environment, prepare, root } from './prepare.ts';

type Phases = Readonly<Record<string, Counts>>;

/** What a case asks of the card. */
interface Asked {
  /** Kernels, products, fills and copies within the card. */
  readonly launches: number;
  readonly synchronisations: number;
  readonly copiesToDevice: number;
  readonly copiesToHost: number;
  /** Of NCCL, where there are several cards. */
  readonly collectives?: number;
}

interface Golden {
  /** One token of every row. */
  readonly token?: Asked;
  /** All of it, without loading. */
  readonly whole: Asked;
  /** Bytes of tensors on the card. */
  readonly peak: number;
  /** What `visurf plan` expects in place of `peak`, of steps with real shapes. */
  readonly planned?: number;
}

const { values: options } = parseArgs({
  options: {
    only: { type: 'string', multiple: true, default: [''] },
    kernels: { type: 'boolean', default: false },
    tables: { type: 'boolean', default: false },
  },
});
const file = fileURLToPath(new URL('counts.json', import.meta.url));
const here = (name: string): string => fileURLToPath(new URL(name, import.meta.url));
const config = `
output: run
data: { train: train.jsonl, prompt: 'find {Question}' }
steps: 1
promptsPerStep: 2
rollout: { group: 2, maxNewTokens: 6 }
`;
type Commanded = Extract<Case, { readonly commands: unknown }>;
/** @throws Error with the end of what it said, where it failed; as it should, where it is to be `refused` */
function run(
  args: readonly string[],
  cwd: string,
  counts: string,
  { gigabytes = 80, refused, cards = 1 }: Partial<Pick<Commanded, 'gigabytes' | 'refused' | 'cards'>> = {},
): Promise<void> {
  return new Promise((resolve, reject) => {
    const card = { DRY_RUN_GB: String(gigabytes), DRY_RUN_CARDS: String(cards) };
    const env = { ...process.env, ...environment, COUNTS: counts, ...card };
    const child = spawn(process.execPath, args, { env, cwd, stdio: ['ignore', 'ignore', 'pipe'] });
    let said = '';
    child.stderr.on('data', (text: Buffer) => (said += text.toString()));
    child.on('close', (code, signal) => {
      if (refused === undefined ? code === 0 : code === 2 && said.includes(refused)) return resolve();
      const why = signal === 'SIGSEGV' ? 'the host touched memory of the card' : `exit code ${code ?? signal}`;
      reject(new Error(`${why}\n${said.trim().split('\n').slice(-12).join('\n')}`));
    });
  });
}

/** CUDA itself, which the plan counts and the dry run does not. */
const context = 500e6;

/** Bytes of tensors that the plan expects of a step with real shapes. */
async function plannedPeak(step: Step): Promise<number> {
  const { gigabytes = 80, among: cards = 1 } = step;
  const { memory } = await planStep(step, { machine: 'h100', memory: gigabytes * 1e9, cards });
  return memory.peak - context;
}

interface Outcome {
  readonly phases: Phases;
  readonly planned?: number;
}

async function runCase(each: Case): Promise<Outcome> {
  const folder = mkdtempSync(join(tmpdir(), 'visurf-dry-run-'));
  const counts = join(folder, 'counts.json');
  const read = (): unknown => JSON.parse(readFileSync(counts, 'utf8'));
  try {
    writeFileSync(join(folder, 'config.yaml'), config);
    const samples = 'step' in each ? ((each.step.changes['promptsPerStep'] as number | undefined) ?? 2) : 2;
    const lines = Array.from({ length: samples }, (_, i) => {
      // Data names images of its own folder. A file whose image tokens are remembered is seen once: real steps have many.
      const image = samples > 2 ? `${i}-${basename(sample.image)}` : basename(sample.image);
      copyFileSync(sample.image, join(folder, image));
      return JSON.stringify({ id: `sample-${i}`, ...sample, image });
    });
    writeFileSync(join(folder, 'train.jsonl'), lines.join('\n'));
    if ('step' in each) {
      const { gigabytes } = each.step;
      await run([here('step.ts'), JSON.stringify(each.step)], folder, counts, gigabytes ? { gigabytes } : {});
      const phases = read() as Phases;
      return each.step.gigabytes === undefined ? { phases } : { phases, planned: await plannedPeak(each.step) };
    }
    const program = join(root, 'packages/visurf/src/main.ts');
    for (const [i, args] of each.commands.entries()) {
      const last = i === each.commands.length - 1;
      await run(['--import', here('report.ts'), program, ...args], folder, counts, last ? each : {});
    }
    return { phases: { command: read() as Counts } };
  } finally {
    rmSync(folder, { recursive: true });
  }
}

const sum = (counts: Counts, matches: (name: string) => boolean): number =>
  Object.entries(counts).reduce((total, [name, amount]) => total + (matches(name) ? amount : 0), 0);

const summarise = (counts: Counts): Asked => ({
  launches: sum(counts, (name) => /^(kernel|product) |^(fills|copies within|graphs)$/.test(name)),
  synchronisations: counts['synchronisations'] ?? 0,
  copiesToDevice: counts['copies to device'] ?? 0,
  copiesToHost: counts['copies to host'] ?? 0,
  ...(counts['collectives'] !== undefined && { collectives: counts['collectives'] }),
});

function goldenOf({ phases: { token, loading: _, ...phases }, planned }: Outcome): Golden {
  const all: Record<string, number> = {};
  for (const counts of Object.values(phases))
    for (const [name, amount] of Object.entries(counts)) all[name] = (all[name] ?? 0) + amount;
  const peak = Math.max(...Object.values(phases).map((counts) => counts['peak'] ?? 0));
  return { ...(token && { token: summarise(token) }), whole: summarise(all), peak, ...(planned && { planned }) };
}

/** Numbers by their path: `token.launches`. */
const flat = ({ token, whole, peak }: Golden): Record<string, number> => ({
  ...Object.fromEntries(Object.entries(token ?? {}).map(([name, value]) => [`token.${name}`, value as number])),
  ...Object.fromEntries(Object.entries(whole).map(([name, value]) => [`whole.${name}`, value as number])),
  peak,
});

/**
 * The allocator hands out blocks a little larger than what is asked for, by what was freed before; a few small gradients are
 * copied within the card or taken as they are, by what the collector has let go of.
 */
const slack: Readonly<Record<string, number>> = { peak: 1.005, 'whole.launches': 1.01 };

function risen(before: Golden, now: Golden): string[] {
  const old = flat(before);
  return Object.entries(flat(now)).flatMap(([name, value]) =>
    old[name] !== undefined && value > old[name] * (slack[name] ?? 1)
      ? [`${name} rose from ${old[name]} to ${value}`]
      : [],
  );
}

/** The plan may be off by a twentieth. */
function misplanned({ peak, planned }: Golden): string[] {
  if (planned === undefined || Math.abs(planned / peak - 1) <= 0.05) return [];
  return [`planned are ${planned} bytes, counted ${peak}`];
}

function describeKernels(phases: Phases): string {
  return Object.entries(phases)
    .map(([phase, counts]) => {
      const most = Object.entries(counts).sort(([, a], [, b]) => b - a);
      return `  ${phase}\n${most.map(([name, amount]) => `    ${amount} ${name.slice(0, 200)}`).join('\n')}`;
    })
    .join('\n');
}

function countedTable(all: Readonly<Record<string, Golden>>): string {
  const gigabytes = (bytes: number): string => (bytes / 1e9).toFixed(bytes < 1e9 ? 2 : 1);
  const rows = Object.entries(all).map(([name, { token, whole, peak, planned }]) => {
    const counted = [token?.launches ?? '', whole.launches, whole.synchronisations, gigabytes(peak)];
    return `| ${[name, ...counted, planned === undefined ? '' : gigabytes(planned)].join(' | ')} |`;
  });
  const head = '| what | launches a token | launches in all | synchronisations | peak, GB | planned, GB |';
  return `${head}\n|${' --- |'.repeat(6)}\n${rows.join('\n')}`;
}

/** Into docs/gpu.md, between two marks. */
function writeInto(mark: string, table: string): void {
  const page = join(root, 'docs/gpu.md');
  const [begin, end] = [`<!-- ${mark} -->\n`, '<!-- end -->'];
  const [front = '', rest = ''] = readFileSync(page, 'utf8').split(begin);
  writeFileSync(page, `${front}${begin}\n${table}\n\n${rest.slice(rest.indexOf(end))}`);
}

if (!options.tables) await prepare();
const goldens = (): Record<string, Golden> =>
  existsSync(file) ? (JSON.parse(readFileSync(file, 'utf8')) as Record<string, Golden>) : {};
const known = goldens();
const found: Record<string, Golden> = {};
const everything = cases();
const isAll = options.only.includes('');
const isChosen = (name: string): boolean =>
  options.only.some((word) => (word in everything ? name === word : name.includes(word)));
const chosen = options.tables ? [] : Object.entries(everything).filter(([name]) => isChosen(name));
let [passed, failed] = [0, 0];
for (const [name, each] of options.tables ? Object.entries(everything) : []) {
  if (!('step' in each) || each.step.gigabytes === undefined || !known[name]) continue;
  const planned = { ...known[name], planned: await plannedPeak(each.step) };
  found[name] = planned;
  for (const problem of misplanned(planned)) {
    failed++;
    console.log(`FAILED  ${name}: ${problem}`);
  }
}
for (const [name, each] of chosen) {
  const start = performance.now();
  try {
    const outcome = await runCase(each);
    const golden = goldenOf(outcome);
    // What a card is asked until its memory is full says nothing.
    const lowest = Math.min(golden.peak, known[name]?.peak ?? Infinity);
    if (!('commands' in each && each.refused)) found[name] = { ...golden, peak: lowest };
    const { token, whole, peak } = golden;
    if (options.kernels) console.log(describeKernels(outcome.phases));
    const problems = [...(known[name] ? risen(known[name], golden) : []), ...misplanned(golden)];
    if (problems.length > 0) throw new Error(problems.join('\n'));
    passed++;
    const perToken = token ? `${token.launches} launches a token, ` : '';
    const exchanged = whole.collectives === undefined ? '' : `, ${whole.collectives} collectives`;
    const text = `${perToken}${whole.launches} in all, ${whole.synchronisations} synchronisations${exchanged}`;
    const seconds = Math.round((performance.now() - start) / 1000);
    console.log(`ok      ${name}: ${text}, ${(peak / 1e9).toFixed(2)} GB (${seconds} s)`);
  } catch (error) {
    failed++;
    console.log(`FAILED  ${name}: ${error instanceof Error ? error.message : String(error)}`);
  }
}
console.log(`${passed} passed, ${failed} failed`);
if (failed > 0) process.exitCode = 1;
else {
  // As they are now: another part of the cases may have been counted meanwhile.
  const asked = { ...goldens(), ...found };
  // In the order of cases, and of those alone.
  const all = Object.fromEntries(Object.keys(everything).flatMap((name) => (asked[name] ? [[name, asked[name]]] : [])));
  writeFileSync(file, await format(JSON.stringify(all), { parser: 'json', printWidth: 120 }));
  writeInto('counted', countedTable(all));
  if (isAll) writeInto('fits', await fitsTable());
}
