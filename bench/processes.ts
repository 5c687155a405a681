/**
 * What more processes bring, and whether `visurf plan --processes` knows it: a step by one, two and four processes, as
 * planned and as measured, a random model whose answers are all as long as they may be. What processes spend on each other
 * is told from what they take from each other by sharing a machine: two that train alone, at once, have as much to compute
 * as two that train together. Fills in the tables of docs/distributed.md.
 *
 *     node bench/processes.ts            some ten minutes on two quiet cores; --steps 3 --dry: a look
 */
import { execFile } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { availableParallelism, loadavg, tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs, promisify } from 'node:util';

import type { Plan } from '@visurf/core';

import { sizedModel, writeCheckpoint } from './checkpoint.ts';
import { describeMachine } from './machine.ts';
import { processorSeconds } from './resident.ts';

const { values: options } = parseArgs({
  options: {
    steps: { type: 'string', default: '5' },
    prompts: { type: 'string', default: '8' },
    dry: { type: 'boolean', default: false },
  },
});
const root = join(import.meta.dirname, '..');
const run = promisify(execFile);
const PROMPTS = Number(options.prompts);
/** What is trained, and how processes add it up. */
const TRAINED: Readonly<Record<string, readonly string[]>> = {
  'all weights (ZeRO-2)': [],
  'LoRA of rank 16 (all-reduce)': ['train.lora.rank=16'],
};
const MODEL = sizedModel(
  {
    hidden_size: 256,
    num_hidden_layers: 6,
    num_attention_heads: 4,
    num_key_value_heads: 2,
    intermediate_size: 1024,
    vocab_size: 4096,
  },
  { hidden_size: 192, depth: 3, num_heads: 4, intermediate_size: 512, fullatt_block_indexes: [1, 2] },
);

const folder = mkdtempSync(join(tmpdir(), 'visurf-processes-'));
const config = join(folder, 'config.yaml');
const env = { ...process.env, OMP_NUM_THREADS: '1' };

/** Names a training in the environment of its processes. */
const MARK = 'VISURF_BENCH_OF';

const visurf = (args: readonly string[], mark = '') =>
  run(join(root, 'visurf'), args, { env: { ...env, [MARK]: mark }, maxBuffer: 1 << 26 });

interface Step {
  /** From its beginning to its end. */
  readonly wall: number;
  /** Of processors: of the process with most, or of all by the processors there are. What it takes of a quiet machine. */
  readonly used: number;
}

/** Processor seconds so far of every process of a training. */
function usedBy(mark: string): Map<number, number> {
  const used = new Map<number, number>();
  for (const pid of readdirSync('/proc').map(Number)) {
    if (!(pid > 0)) continue;
    try {
      const of = readFileSync(`/proc/${pid}/environ`, 'utf8').split('\0');
      if (of.includes(`${MARK}=${mark}`)) used.set(pid, processorSeconds(pid));
    } catch {
      // It has ended, or is somebody else's.
    }
  }
  return used;
}

/** The fastest step but the first: other programs of the machine make steps slower, never faster. */
async function stepOf(processes: number, changes: readonly string[], output: string): Promise<Step> {
  const directory = join(folder, output);
  const events = join(directory, 'events.jsonl');
  const marks: Map<number, number>[] = [];
  const timer = setInterval(() => {
    const made = existsSync(events) ? (readFileSync(events, 'utf8').match(/"type":"step"/g)?.length ?? 0) : 0;
    if (made > marks.length) marks.push(usedBy(output));
  }, 50);
  const args = ['train', config, ...changes, `output=${directory}`, '--processes', String(processes), '--json'];
  await visurf(args, output).finally(() => clearInterval(timer));
  const walls = readFileSync(events, 'utf8')
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as { type: string; seconds: Readonly<Record<string, number>> })
    .filter(({ type }) => type === 'step')
    .slice(1)
    .map(({ seconds }) => Object.values(seconds).reduce((a, b) => a + b, 0));
  rmSync(directory, { recursive: true });
  const used = marks.slice(1).map((after, i) => {
    const each = [...after].map(([pid, seconds]) => seconds - (marks[i]!.get(pid) ?? seconds));
    return Math.max(...each, each.reduce((a, b) => a + b, 0) / availableParallelism());
  });
  return { wall: Math.min(...walls), used: Math.min(...used) };
}

async function planOf(processes: number, changes: readonly string[]): Promise<Plan['time']> {
  const { stdout } = await visurf(['plan', config, ...changes, '--processes', String(processes), '--json']);
  return (JSON.parse(stdout) as Plan).time;
}

const seconds = (value: number): string => `${value.toFixed(2)} s`;
const percent = (share: number): string => `${(100 * share).toFixed(0)}%`;
const table = (head: readonly string[], rows: readonly (readonly string[])[]): string =>
  [head, head.map(() => '---'), ...rows].map((cells) => `| ${cells.join(' | ')} |`).join('\n');

try {
  writeCheckpoint(join(folder, 'base'), MODEL, 'F32');
  const image = join(root, 'oracle/fixtures/images/wide-340x270.png');
  const sample = { image, problem: 'the red car', solution: [{ bbox_2d: [10, 20, 200, 180] }], prompt: '{Question}' };
  const lines = Array.from({ length: 32 }, (_, i) => JSON.stringify({ id: `sample-${i}`, ...sample }));
  writeFileSync(join(folder, 'train.jsonl'), `${lines.join('\n')}\n`);
  writeFileSync(
    config,
    `model: base\noutput: run\nsteps: ${options.steps}\npromptsPerStep: ${PROMPTS}\n` +
      'data: { train: train.jsonl, allowOutside: true }\nrollout: { group: 4, maxNewTokens: 64 }\n' +
      'train: { microBatch: { prompts: 2 } }\nrecord: { images: none }\n',
  );
  const planned: string[][] = [];
  const shared: string[][] = [];
  for (const [name, changes] of Object.entries(TRAINED)) {
    const measured: Step[] = [];
    for (const processes of [1, 2, 4]) {
      const plan = await planOf(processes, changes);
      const step = await stepOf(processes, changes, 'run');
      measured.push(step);
      const cells = [plan.step, plan.communication, step.used].map(seconds);
      planned.push([name, String(processes), ...cells, percent(plan.step / step.used - 1), seconds(step.wall)]);
      console.error(planned.at(-1)!.join(' | '));
    }
    const half = [...changes, `promptsPerStep=${PROMPTS / 2}`];
    const { wall: alone } = await stepOf(1, half, 'alone');
    const both = await Promise.all(['first', 'second'].map((each) => stepOf(1, half, each)));
    const apart = both.reduce((sum, { wall }) => sum + wall, 0) / 2;
    const [one = 0, two = 0] = measured.map(({ wall }) => wall);
    shared.push([name, ...[one, two].map(seconds), `${(one / two).toFixed(2)}x`, seconds(alone), seconds(apart)]);
    shared.at(-1)!.push(percent((apart - alone) / two), percent((two - apart) / two));
    console.error(shared.at(-1)!.join(' | '));
  }
  const { cpu, cores } = describeMachine();
  const text = [
    `${cpu}, ${cores} processors; the fastest of ${options.steps} steps of ${PROMPTS} prompts each;\nload of the machine ${loadavg()[1]!.toFixed(0)}.`,
    table(
      ['trained', 'processes', 'step, planned', 'of it exchange', 'processor time of a step', 'off', 'step, measured'],
      planned,
    ),
    table(
      [
        ...['trained', '1 process', '2 processes', 'times as fast', 'half the prompts: alone', 'two alone at once'],
        ...['of a step for sharing a machine', 'for each other'],
      ],
      shared,
    ),
  ].join('\n\n');
  console.log(text);
  if (!options.dry) {
    const page = join(root, 'docs/distributed.md');
    const filled = readFileSync(page, 'utf8').replace(
      /(?<=<!-- measured -->\n)[^]*?(?=<!-- end -->)/,
      () => `\n${text}\n\n`,
    );
    writeFileSync(page, filled);
  }
} finally {
  rmSync(folder, { recursive: true });
}
